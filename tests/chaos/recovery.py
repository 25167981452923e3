"""Measures how long a job waits for its next worker when the process that held it has died."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from sqlalchemy import select

from imagen.domain.job import JobState
from imagen.errors import ImagenError
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import jobs

_HELD = (JobState.RUNNING.value, JobState.GENERATED.value)


@dataclass(frozen=True, slots=True)
class InterruptedJob:
    """A job that a process held when it died."""

    job_id: UUID
    owner: str
    state: str
    fence: int
    died_s: float


@dataclass(frozen=True, slots=True)
class RecoveredJob:
    """Seconds from the death to the next claim of the job, or its end."""

    job_id: UUID
    state: str
    seconds: float


@dataclass
class RecoveryWatch:
    """A thread that looks at the interrupted jobs every 20 ms, inside a ``with`` block."""

    ledger: Ledger
    recovered: list[RecoveredJob] = field(default_factory=list)
    _open: list[InterruptedJob] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def interrupted(self) -> int:
        with self._lock:
            return len(self._open) + len(self.recovered)

    @property
    def still_open(self) -> int:
        with self._lock:
            return len(self._open)

    def note_death(self, owner_prefix: str) -> int:
        """Follow the jobs that the dead process held; returns their number."""
        died_s = time.monotonic()
        found = [
            InterruptedJob(row.id, row.lease_owner, row.state, row.fence, died_s)
            for row in self._rows(owner_prefix)
        ]
        with self._lock:
            self._open += found
        return len(found)

    def _rows(self, owner_prefix: str) -> Sequence[object]:
        columns = (jobs.c.id, jobs.c.lease_owner, jobs.c.state, jobs.c.fence)
        statement = select(*columns).where(
            jobs.c.state.in_(_HELD), jobs.c.lease_owner.startswith(owner_prefix, autoescape=True)
        )
        try:
            with self.ledger.read() as connection:
                return connection.execute(statement).all()
        except ImagenError:
            # The database is being restarted: jobs interrupted meanwhile are not counted.
            return []

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            with self._lock:
                pending = list(self._open)
            if pending:
                self._look(pending)

    def _look(self, pending: list[InterruptedJob]) -> None:
        columns = (jobs.c.id, jobs.c.lease_owner, jobs.c.state)
        ids = [each.job_id for each in pending]
        try:
            with self.ledger.read() as connection:
                rows = connection.execute(select(*columns).where(jobs.c.id.in_(ids))).all()
        except ImagenError:
            return
        now = {row.id: row for row in rows}
        for each in pending:
            row = now[each.job_id]
            if not _is_recovered(each, owner=row.lease_owner, state=row.state):
                continue
            found = RecoveredJob(each.job_id, each.state, time.monotonic() - each.died_s)
            with self._lock:
                self._open.remove(each)
                self.recovered.append(found)


def _is_recovered(each: InterruptedJob, *, owner: str | None, state: str) -> bool:
    if state not in (JobState.QUEUED.value, *_HELD):
        return True
    if each.state == JobState.RUNNING.value and state == JobState.GENERATED.value:
        return True
    return owner is not None and owner != each.owner


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all are at or below; nan for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
