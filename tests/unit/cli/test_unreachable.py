"""What commands say of a backend that goes away, and of the workers that cannot reach it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagen.ledger.jobs.pauses import pause_backend, paused_backends
from imagen.ledger.jobs.worker_rows import OpenCircuit, report_worker
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.open_ledger import open_ledger

# Its check succeeds, and every drawing is refused: a server that answers and draws nothing.
REFUSES = """
default_backend: gone
backends:
  gone: {type: mock, fail_first: 1000000}
workers: {unavailable_patience_s: 0.3, check_s: 60}
"""
BEHIND_A_BROKER = {"IMAGEN_BROKER_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture
def ledger(imagen, tmp_path):
    ledger: Ledger = open_ledger("", default_path=tmp_path / "unused.db")
    ledger.close()
    [path] = Path.home().rglob("ledger.db")
    ledger = open_ledger(f"sqlite:///{path}", default_path=path)
    yield ledger
    ledger.close()


def _report(ledger: Ledger, *open_circuits: OpenCircuit) -> None:
    report_worker(
        ledger,
        "attic:1:a",
        host="attic",
        role="gpu",
        queues=["gpu"],
        backends=["mock"],
        open_circuits=open_circuits,
    )


AWAY = OpenCircuit("mock", datetime(2026, 11, 20, 12, 0, tzinfo=UTC), "connection refused")


def test_a_batch_whose_backend_stays_away_ends_with_5_and_keeps_its_rows(
    imagen, configure, tmp_path, monkeypatch
):
    configure(REFUSES)
    # A slow machine takes longer than the ten seconds after which it is said again.
    monkeypatch.setattr("imagen.cli.draw.job_messages._SAY_AGAIN_S", 3600.0)
    (tmp_path / "prompts.txt").write_text("a fox\nan owl\na harbour\n")

    done = imagen("batch", "prompts.txt", "--json")

    assert done.code == 5
    assert (done.json["left"], done.json["failed"]) == (3, 0)
    assert done.json["error"]["code"] == "backend_unavailable"
    assert "run it again to go on" in done.json["error"]["hint"]
    assert done.err.count("waiting for backend 'gone'") == 1
    assert "circuit_opened" not in done.err


def test_one_image_of_a_backend_that_is_away_is_given_up_soon(imagen, configure):
    configure(REFUSES)

    done = imagen("generate", "a fox", "--json")

    assert done.code == 5
    assert done.json["state"] == "failed"
    assert done.json["error"]["code"] == "backend_unavailable"


def test_resuming_a_backend_names_all_of_its_account(imagen, ledger):
    for name in ("flux-schnell-replicate", "flux-dev-replicate", "mock"):
        pause_backend(ledger, name, reason="token refused", pause_s=None, code="credential")

    done = imagen("backends", "resume", "flux-schnell-replicate")

    assert "flux-dev-replicate, flux-schnell-replicate go on" in done.err
    assert list(paused_backends(ledger)) == ["mock"]


def test_workers_are_listed_with_what_they_cannot_reach(imagen, ledger):
    _report(ledger, AWAY)

    done = imagen("workers")
    assert done.code == 0
    assert "gpu" in done.out
    assert "attic" in done.out
    assert "cannot use mock since" in done.out

    [listed] = imagen("workers", "--json").json["workers"]
    assert listed["open_circuits"][0]["why"] == "connection refused"


def test_a_worker_that_cannot_reach_a_backend_is_seen_in_the_list_of_backends(imagen, ledger):
    _report(ledger, AWAY)

    listed = {each["name"]: each for each in imagen("backends", "--json").json["backends"]}

    [sentence] = listed["mock"]["outages"]
    assert sentence.startswith("the gpu worker on attic cannot use it since")
    assert listed["flux-schnell-local"]["outages"] == []


def test_a_queued_job_says_what_it_waits_for(imagen, ledger):
    pause_backend(ledger, "mock", reason="by hand", pause_s=None)
    _report(ledger, AWAY)
    imagen("generate", "a fox", "--backend", "mock", "--timeout", "0.1s")
    job_id = imagen("jobs", "ls", "--json").json["jobs"][0]["id"]

    shown = imagen("jobs", "show", job_id)

    assert "waits for" in shown.out
    assert "backend 'mock' is paused: by hand" in shown.out
    assert "the gpu worker on attic cannot use it" in shown.out


def test_the_doctor_tells_what_live_workers_cannot_reach(imagen, ledger):
    _report(ledger, AWAY)

    findings = imagen("doctor", "--json", env=BEHIND_A_BROKER).json["findings"]

    [found] = [each for each in findings if "cannot use it" in each["text"]]
    assert (found["what"], found["state"]) == ("backend mock", "warning")
