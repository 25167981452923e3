"""The same commands where workers draw: accepted at once, waited for on request."""

from __future__ import annotations

import pytest

from imagen.ledger.jobs.worker_rows import report_worker
from imagen.ledger.store.open_ledger import open_ledger
from tests.fakes.comfyui import FakeComfyUI

NOWHERE = "redis://127.0.0.1:1/0"
FOX = ("generate", "a fox", "--backend", "mock", "--size", "64x64")


@pytest.fixture
def broker(redis_url) -> dict[str, str]:
    return {"IMAGEN_BROKER_URL": redis_url}


def test_generate_answers_with_the_id_at_once(imagen, broker):
    done = imagen(*FOX, env=broker)

    assert done.code == 0
    assert imagen("jobs", "show", done.out.strip(), "--json").json["state"] == "queued"


def test_generate_with_json_answers_with_what_is_settled(imagen, broker):
    done = imagen(*FOX, "--json", "--seed", "4", env=broker)

    assert done.json["state"] == "queued"
    assert done.json["seed"] == 4
    assert done.json["error"] is None


def test_giving_up_leaves_the_job_to_the_workers(imagen, broker):
    done = imagen(*FOX, "--wait", "--timeout", "0.3", "--json", env=broker)

    assert done.code == 6
    assert done.json["state"] == "queued"
    assert f"imagen jobs wait {done.json['id']}" in done.err


def test_a_job_is_accepted_while_redis_is_away(imagen):
    done = imagen(*FOX, "--json", env={"IMAGEN_BROKER_URL": NOWHERE})

    assert done.code == 5
    assert done.json["state"] == "queued"
    assert "is accepted" in done.json["error"]["message"]
    assert imagen("jobs", "show", done.json["id"]).code == 0


def test_retry_puts_back_and_answers_at_once(imagen, broker):
    id_ = imagen(*FOX, env=broker).out.strip()
    imagen("jobs", "cancel", id_)
    done = imagen("jobs", "retry", id_, env=broker)

    assert done.out.strip() == id_
    assert imagen("jobs", "show", id_, "--json").json["state"] == "queued"


def test_a_worker_needs_a_role(imagen, broker):
    done = imagen("worker", env=broker)

    assert done.code == 3
    assert "imagen worker gpu" in done.err


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_a_folder_that_the_results_worker_refuses_is_refused_before_a_row_is_accepted(
    imagen, broker, made_ledger, tmp_path, command
):
    ledger = open_ledger("", default_path=made_ledger)
    report_worker(
        ledger,
        "desk:results",
        host="desk",
        role="results",
        queues=[],
        backends=[],
        allowed_dirs=[str(tmp_path / "allowed")],
    )
    ledger.close()
    (tmp_path / "prompts.txt").write_text("a fox\n")
    wanted = {
        "generate": (*FOX, "-o", str(tmp_path / "elsewhere" / "fox.png")),
        "batch": ("batch", str(tmp_path / "prompts.txt"), "--output-dir", str(tmp_path / "else")),
    }

    done = imagen(*wanted[command], env=broker | {"IMAGEN_HOST": "desk"})

    assert done.code == 2
    assert "the results worker of 'desk' refuses it" in done.err
    assert imagen("jobs", "ls", "--json").json["jobs"] == []


@pytest.mark.parametrize("named", [False, True], ids=["all", "by id"])
def test_drawing_later_what_was_left_tells_the_warnings(imagen, configure, named):
    with FakeComfyUI() as fake:
        configure(f"backends: {{gpu: {{type: comfyui, url: '{fake.url}'}}}}\n")
        left = ("generate", "a fox", "--backend", "gpu", "--size", "100x64", "--json")
        id_ = imagen(*left, env={"IMAGEN_BROKER_URL": NOWHERE}).json["id"]

        done = imagen("jobs", "resume", id_ if named else "--all", "--json")

    warning = "size 100x64 drawn as 96x64: sides must be multiples of 16 pixels"
    assert warning in done.err
    told = done.json["jobs"][0]["warnings"] if named else done.json["warnings"]
    assert told == ([warning] if named else {warning: 1})
