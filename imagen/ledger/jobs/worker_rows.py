"""The rows of running worker processes, from which a command sees which worker is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, null, select

from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import workers
from imagen.ledger.store.types import now_plus, seconds_since


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A backend that a worker claims no jobs of because it cannot reach it, since when, and why."""

    backend: str
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process as it last reported itself; ``seen_s`` is how long ago.

    ``allowed_dirs`` are the folders that a results worker may write to, None for other workers.
    """

    owner: str
    host: str
    role: str
    queues: tuple[str, ...]
    backends: tuple[str, ...]
    model: str | None
    started_at: datetime
    seen_s: float
    allowed_dirs: tuple[str, ...] | None = None
    open_circuits: tuple[OpenCircuit, ...] = ()


def report_worker(
    ledger: Ledger,
    owner: str,
    *,
    host: str,
    role: str,
    queues: Sequence[str],
    backends: Sequence[str],
    model: str | None = None,
    allowed_dirs: Sequence[str] | None = None,
    open_circuits: Sequence[OpenCircuit] = (),
) -> None:
    """Write the row of this process; called at start and with each heartbeat."""
    values = {
        "host": host,
        "role": role,
        "queues": list(queues),
        "backends": list(backends),
        "model": model,
        "allowed_dirs": null() if allowed_dirs is None else list(allowed_dirs),
        "open_circuits": [
            {"backend": each.backend, "since": each.since.isoformat(), "why": each.why}
            for each in open_circuits
        ],
        "seen_at": now_plus(),
    }
    with ledger.write(durable=False) as connection:
        statement = insert_on(ledger, workers).values(owner=owner, started_at=now_plus(), **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["owner"], set_=values))


def sign_off_worker(ledger: Ledger, owner: str) -> None:
    """Delete the row of this process, if there is one."""
    with ledger.write(durable=False) as connection:
        connection.execute(delete(workers).where(workers.c.owner == owner))


def live_workers(ledger: Ledger, *, within_s: float) -> list[Worker]:
    """The workers that reported themselves in the last ``within_s`` seconds."""
    statement = (
        select(workers, seconds_since(workers.c.seen_at).label("seen_s"))
        .where(workers.c.seen_at > now_plus(-within_s))
        .order_by(workers.c.role, workers.c.host, workers.c.owner)
    )
    with ledger.read() as connection:
        rows = connection.execute(statement).all()
    return [_worker(row) for row in rows]


def _worker(row: Row[Any]) -> Worker:
    values = {each.name: getattr(row, each.name) for each in fields(Worker)} | {
        "queues": tuple(row.queues),
        "backends": tuple(row.backends),
        "allowed_dirs": None if row.allowed_dirs is None else tuple(row.allowed_dirs),
        "open_circuits": tuple(map(_open_circuit, row.open_circuits or ())),
    }
    return Worker(**values)


def _open_circuit(document: dict[str, Any]) -> OpenCircuit:
    since = datetime.fromisoformat(document["since"])
    return OpenCircuit(document["backend"], since, document["why"])


def unreachable_backends(workers: Sequence[Worker]) -> dict[str, tuple[Worker, OpenCircuit]]:
    """The backends that every one of these workers that serves them cannot reach.

    With each, the worker whose circuit opened last, and that circuit.
    """
    found: dict[str, tuple[Worker, OpenCircuit]] = {}
    reachable: set[str] = set()
    for worker in workers:
        opened = {each.backend: each for each in worker.open_circuits}
        reachable |= set(worker.backends) - set(opened)
        for name, circuit in opened.items():
            if name not in found or found[name][1].since < circuit.since:
                found[name] = (worker, circuit)
    return {name: each for name, each in found.items() if name not in reachable}


def forget_workers(ledger: Ledger, *, unseen_s: float) -> None:
    """Delete the rows of workers that have not reported for ``unseen_s`` seconds."""
    with ledger.write(durable=False) as connection:
        connection.execute(delete(workers).where(workers.c.seen_at < now_plus(-unseen_s)))
