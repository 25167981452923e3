"""What live workers say of themselves, and of backends that they cannot reach."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from imagen.ledger.jobs.worker_rows import OpenCircuit, report_worker
from imagen.services.report.live_workers import (
    describe_outages,
    has_results_worker,
    view_workers,
)

AWAY = OpenCircuit("flux", datetime(2026, 11, 20, 12, 0, tzinfo=UTC), "connection refused")


def report(desk: Any, owner: str, role: str, *circuits: OpenCircuit) -> None:
    report_worker(
        desk.ledger,
        owner,
        host="attic",
        role=role,
        queues=["gpu"],
        backends=["flux"],
        open_circuits=circuits,
    )


def test_a_worker_tells_its_keys_and_its_outages(sqlite_desk: Any) -> None:
    report(sqlite_desk, "attic:1:a", "gpu", AWAY)

    [view] = view_workers(sqlite_desk.ledger, within_s=60)

    facts = view.to_json()
    assert (facts["role"], facts["queues"], facts["model"]) == ("gpu", ["gpu"], None)
    assert facts["open_circuits"] == [
        {"backend": "flux", "since": "2026-11-20T12:00:00+00:00", "why": "connection refused"}
    ]
    [outage] = view.outages()
    assert outage.startswith("cannot use flux since ")


def test_an_outage_names_each_worker_that_has_it(sqlite_desk: Any) -> None:
    report(sqlite_desk, "attic:1:a", "gpu", AWAY)
    report(sqlite_desk, "attic:2:b", "gpu")

    outages = describe_outages(sqlite_desk.ledger, within_s=60)

    assert list(outages) == ["flux"]
    assert len(outages["flux"]) == 1
    assert outages["flux"][0].endswith("connection refused")


def test_only_a_results_worker_of_the_host_itself_delivers_there(sqlite_desk: Any) -> None:
    report(sqlite_desk, "attic:1:a", "gpu")
    assert not has_results_worker(sqlite_desk.ledger, "attic", within_s=60)
    report(sqlite_desk, "attic:2:b", "results")

    assert has_results_worker(sqlite_desk.ledger, "attic", within_s=60)
    assert not has_results_worker(sqlite_desk.ledger, "here", within_s=60)
