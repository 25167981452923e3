"""A claim, and what every process asks each second, reads nothing that cannot be claimed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from uuid_utils.compat import uuid7

from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.leases import end_canceled
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.jobs.submit import open_batch
from imagen.ledger.queries.unfinished_jobs import blocked_backend, has_unfinished, next_due_s
from imagen.ledger.queries.waiting_jobs import (
    count_waiting,
    crashed_waiting,
    waiting_jobs,
    waiting_queues,
)
from imagen.ledger.store.rows import values_of_draft
from imagen.ledger.store.tables import jobs

#: Enough that reading them all shows, and that a plan made for many rows is chosen.
AHEAD = 2_000
#: Index look-ups of a claim of a few queues, and the rows that they find.
MOST_READ = 200

LATER = datetime.now(UTC) + timedelta(days=1)

#: How the jobs ahead differ by number, and how the claimant does.
CASES: dict[str, tuple[Callable[[int], dict[str, Any]], dict[str, Any]]] = {
    "of a paused backend": (lambda _: {"backend": "paused"}, {}),
    "put off": (lambda _: {"not_before": LATER}, {}),
    "while the loaded model is needed by none": (lambda _: {}, {"model": "none"}),
    "of two models in turns, the loaded one last": (
        lambda n: {"affinity": f"m{n % 2}"},
        {"model": "last"},
    ),
    "without a model": (lambda _: {"affinity": None}, {"model": "last"}),
    "in several queues": (
        lambda n: {"queue": f"gpu.{n % 3}", "backend": "paused"},
        {"queues": ["gpu", "gpu.0", "gpu.1", "gpu.2"]},
    ),
    "of backends that are not served": (
        lambda n: {"backend": f"other{n % 4}"},
        {"backends": ["mock"]},
    ),
    "of a backend that is left out": (lambda _: {"backend": "away"}, {"left_out": ("away",)}),
    "of a full host": (
        lambda _: {"delivery_host": "full"},
        {"scope": Scope(without_hosts=("full",))},
    ),
    "of another host, for a worker that draws for its own": (
        lambda _: {"delivery_host": "other"},
        {"scope": Scope(delivery_host="here")},
    ),
    "of another batch": (lambda _: {}, {"scope": "batch"}),
    "for a command that named its job": (lambda _: {}, {"scope": "job"}),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_claim_reads_no_job_that_cannot_be_claimed(desk: Any, case: str) -> None:
    differs, claimant = CASES[case]
    pause_backend(desk.ledger, "paused", reason="by hand", pause_s=None)
    batch = open_batch(desk.ledger, "prompts", name="prompts")
    fill(desk, differs)
    last = desk.submit(affinity="last", batch_id=batch.id, run=1, dedupe_key="last")
    settle(desk)
    wanted = dict(claimant)
    if isinstance(wanted.get("scope"), str):
        scopes = {"batch": Scope(batch_id=batch.id, run=1), "job": Scope(job_ids=(last,))}
        wanted["scope"] = scopes[wanted["scope"]]

    with watching(desk.ledger) as seen:
        claim = desk.must_claim(**wanted)

    is_only_one = case not in (
        "while the loaded model is needed by none",
        "without a model",
    )
    assert not is_only_one or claim.job.id == last
    assert seen.rows_read <= MOST_READ, seen.plans
    assert seen.whole_tables == [], seen.plans


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: crashed_waiting(ledger, ["gpu", "cloud"]),
        end_canceled,
        lambda ledger: has_unfinished(ledger, EVERYTHING),
        lambda ledger: next_due_s(ledger, EVERYTHING),
        waiting_queues,
        lambda ledger: count_waiting(ledger, "gpu", most=10),
        lambda ledger: waiting_jobs(ledger, "gpu", skip=5, limit=5),
    ],
    ids=["crashed", "canceled", "unfinished", "due", "queues", "count", "some"],
)
@pytest.mark.parametrize("differs", [{}, {"backend": "paused"}, {"state": "succeeded"}])
def test_what_is_asked_each_second_reads_a_few_jobs(
    desk: Any, ask: Callable[[Any], object], differs: dict[str, Any]
) -> None:
    pause_backend(desk.ledger, "paused", reason="by hand", pause_s=None)
    fill(desk, lambda _: differs)
    settle(desk)

    with watching(desk.ledger) as seen:
        ask(desk.ledger)

    assert seen.rows_read <= MOST_READ, seen.plans
    assert seen.whole_tables == [], seen.plans


def test_what_a_run_waits_for_is_found_without_reading_finished_jobs(desk: Any) -> None:
    fill(desk, lambda _: {"state": "succeeded"})
    desk.submit(backend="paused")
    settle(desk)

    with watching(desk.ledger) as seen:
        blocked = blocked_backend(desk.ledger, EVERYTHING, ["paused"])

    assert blocked == "paused"
    assert seen.rows_read <= MOST_READ, seen.plans
    assert seen.whole_tables == [], seen.plans


def fill(desk: Any, differs: Callable[[int], dict[str, Any]]) -> None:
    """Let many jobs wait, all older than those that are submitted afterwards."""
    usual = values_of_draft(desk.draft(affinity="common"))
    usual |= {"created_at": datetime.now(UTC), "not_before": None}
    rows = [usual | {"id": uuid7()} | differs(number) for number in range(AHEAD)]
    with desk.ledger.write() as connection:
        connection.execute(insert(jobs), rows)


def settle(desk: Any) -> None:
    """Let PostgreSQL count what is there, as it does by itself some time later."""
    if desk.ledger.kind == "postgresql":
        with desk.ledger.read() as connection:
            connection.execute(text("ANALYZE imagen.jobs"))


class Seen:
    """What statements read of ``jobs`` while they were watched."""

    def __init__(self) -> None:
        self.rows_read = 0
        self.whole_tables: list[str] = []
        self.plans: list[str] = []


@contextmanager
def watching(ledger: Any) -> Iterator[Seen]:
    seen = Seen()
    look = _look_sqlite if ledger.kind == "sqlite" else _look_postgresql

    def before(_connection: Any, cursor: Any, sql: str, values: Any, *_: Any) -> None:
        if "jobs" in sql:
            look(seen, cursor, sql, values)

    event.listen(ledger.engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(ledger.engine, "before_cursor_execute", before)


def _look_sqlite(seen: Seen, cursor: sqlite3.Cursor, sql: str, values: Any) -> None:
    """What stands in its plan; steps of its virtual machine tell how much it reads."""
    cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values)
    plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    seen.plans.append(plan)
    seen.whole_tables += re.findall(r"SCAN jobs(?! USING (?:COVERING )?INDEX ix_)[^\n]*", plan)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    cursor.connection.set_progress_handler(count, 100)
    if sql.lstrip().startswith(("SELECT", "WITH")) and "UPDATE" not in sql:
        cursor.execute(sql, values).fetchall()
    else:
        cursor.execute("SAVEPOINT look")
        cursor.execute(sql, values).fetchall()
        cursor.execute("ROLLBACK TO look")
    cursor.connection.set_progress_handler(None, 0)
    # A row that is looked at takes some ten steps.
    seen.rows_read += steps * 100 // 10


def _look_postgresql(seen: Seen, cursor: Any, sql: str, values: Any) -> None:
    """What it really read, in a transaction that is undone."""
    with cursor.connection.cursor() as other:
        other.execute("BEGIN" if cursor.connection.autocommit else "SAVEPOINT look")
        other.execute(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {sql}", values)
        plan = "\n".join(row[0] for row in other.fetchall())
        other.execute("ROLLBACK" if cursor.connection.autocommit else "ROLLBACK TO look")
    seen.plans.append(plan)
    scans = re.findall(r" on jobs[^\n]*actual rows=([\d.]+) loops=(\d+)", plan)
    removed = re.findall(r"Rows Removed by Filter: (\d+)", plan)
    seen.rows_read += sum(round(float(rows) * int(loops)) for rows, loops in scans)
    seen.rows_read += sum(map(int, removed))
