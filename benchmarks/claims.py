"""How long a claim takes behind jobs that cannot be claimed, and what every process asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, text
from uuid_utils.compat import uuid7

from benchmarks.bench import DATABASES, Bench
from benchmarks.rows import Aim, Row
from imagen.domain.request import ImageRequest
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.leases import end_canceled
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.jobs.submit import open_batch
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from imagen.ledger.queries.waiting_jobs import count_waiting, crashed_waiting
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts, jobs, pauses
from imagen.wiring.parts import opened_ledger

_AHEAD = 100_000
_CLAIMS = 200
_CHUNK = 5_000
_REQUEST = ImageRequest("a lighthouse", "a lighthouse", 64, 64, 7).to_json()
_LATER = datetime.now(UTC) + timedelta(days=1)

#: What stands in a job's way: how its columns differ by number, and how the claimant does.
_Case = tuple[Callable[[int], dict[str, Any]], dict[str, Any]]
_CASES: dict[str, _Case] = {
    "of a paused backend": (lambda _: {"backend": "paused"}, {}),
    "put off": (lambda _: {"not_before": _LATER}, {}),
    "while no job needs the loaded model": (lambda _: {}, {"model": "none"}),
    "of two other models in turns": (lambda n: {"affinity": f"m{n % 2}"}, {"model": "last"}),
    "in three queues, of a paused backend": (
        lambda n: {"queue": f"gpu.{n % 3}", "backend": "paused"},
        {"queues": ["gpu", "gpu.0", "gpu.1", "gpu.2"]},
    ),
    "of backends that the worker does not serve": (
        lambda n: {"backend": f"other{n % 20}"},
        {"backends": ["mock"]},
    ),
    "of a full host": (
        lambda _: {"delivery_host": "full"},
        {"scope": Scope(without_hosts=("full",))},
    ),
    "of another host, for a worker of this one": (
        lambda _: {"delivery_host": "other"},
        {"scope": Scope(delivery_host="bench")},
    ),
    "of other batches, for a batch": (lambda _: {}, {"scope": "batch"}),
}


def measure(bench: Bench) -> list[Row]:
    """The median claim with nothing in the way, and with 100,000 jobs before the first."""
    ahead = _AHEAD // 10 if bench.quick else _AHEAD
    rows = []
    for database in DATABASES:
        with opened_ledger(bench.home(database).process) as ledger:
            rows += _measure(ledger, database, ahead)
    return rows


def _measure(ledger: Ledger, database: str, ahead: int) -> list[Row]:
    batch_id = open_batch(ledger, "bench", name="bench").id
    pause_backend(ledger, "paused", reason="bench", pause_s=None)
    baseline = Row(
        f"claim, nothing in the way, {database}", _claims(ledger, 0, _plain, {}, batch_id), "ms"
    )
    rows = [baseline]
    aim = Aim.at_most(2)
    for what, (differs, claimant) in _CASES.items():
        samples = _claims(ledger, ahead, differs, claimant, batch_id)
        rows.append(Row(f"{ahead:,} {what}, {database}", samples, "ms", baseline, aim))
    _fill(ledger, 2 * ahead, _plain)
    asked: dict[str, Callable[[], object]] = {
        "whether a crashed job waits": lambda: crashed_waiting(ledger, ["gpu"]),
        "end what was canceled": lambda: end_canceled(ledger),
        "whether anything is unfinished": lambda: has_unfinished(ledger, EVERYTHING),
        "how many wait, up to 1,000": lambda: count_waiting(ledger, "gpu", most=1_000),
    }
    for what, ask in asked.items():
        samples = [_timed(ask) for _ in range(50)]
        rows.append(
            Row(f"{what}, {2 * ahead:,} wait, {database}", samples, "ms", aim=Aim.at_most(1))
        )
    with ledger.write() as connection:
        connection.execute(delete(pauses))
    return rows


def _plain(_: int) -> dict[str, Any]:
    return {}


def _claims(
    ledger: Ledger,
    ahead: int,
    differs: Callable[[int], dict[str, Any]],
    claimant: dict[str, Any],
    batch_id: UUID,
) -> list[float]:
    _fill(ledger, ahead, differs)
    last = {"affinity": "last", "batch_id": batch_id, "run": 1}
    with ledger.write() as connection:
        connection.execute(insert(jobs), [_job() | last for _ in range(_CLAIMS + 20)])
    _settle(ledger)
    wanted = dict(claimant)
    if wanted.get("scope") == "batch":
        wanted["scope"] = Scope(batch_id=batch_id, run=1)
    me = Claimant(**{"owner": "bench", "queues": ["gpu"], "lease_s": 30.0, **wanted})
    # The first few prepare their statements.
    return [_timed(lambda: claim_job(ledger, me)) for _ in range(_CLAIMS)][20:]


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1000


def _fill(ledger: Ledger, number: int, differs: Callable[[int], dict[str, Any]]) -> None:
    """Empty the ledger, and let so many jobs wait."""
    with ledger.write() as connection:
        connection.execute(delete(attempts))
        connection.execute(delete(jobs))
        for chunk in _chunks(number, differs):
            connection.execute(insert(jobs), chunk)
    _settle(ledger)


def _chunks(
    number: int, differs: Callable[[int], dict[str, Any]]
) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, number, _CHUNK):
        yield [_job() | differs(n) for n in range(start, min(start + _CHUNK, number))]


def _settle(ledger: Ledger) -> None:
    if ledger.kind == "postgresql":
        with ledger.read() as connection:
            connection.execute(text("VACUUM ANALYZE imagen.jobs"))


def _job() -> dict[str, Any]:
    return {
        "id": uuid7(),
        "queue": "gpu",
        "lane": 1,
        "backend": "mock",
        "affinity": "common",
        "request": _REQUEST,
        "output": {"folder": "/tmp", "name": "fox.{ext}"},
        "state": "queued",
        "phase": "draw",
        "not_before": None,
        "batch_id": None,
        "run": 0,
        "delivery_host": "bench",
        "caller": "bench",
        "created_at": datetime.now(UTC),
    }
