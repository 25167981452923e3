"""Worker processes that are killed, and stopped for longer than a lease, while they work."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from imagen.domain.job import AttemptState, JobState
from imagen.ledger.store.tables import attempts, jobs
from tests.chaos.environment import HOST, Environment, WorkerProcess
from tests.chaos.kill_points import KillPoint

#: Role and host of each process. On a host of its own nobody's lock file says that it has died:
#: there the lease decides.
PLACES: Sequence[tuple[str, str]] = (
    ("cloud", HOST),
    ("cloud", HOST),
    ("cloud", "far-away"),
    ("results", HOST),
)


@dataclass
class Crew:
    """Keeps every place filled; cloud workers die at one of ``points`` while there are any left."""

    environment: Environment
    dice: random.Random
    places: Sequence[tuple[str, str]] = PLACES
    say: Callable[[str], None] = lambda _: None
    points: list[KillPoint] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    died_at: list[KillPoint] = field(default_factory=list)
    #: What was done to whom, and when, in seconds since the epoch.
    acts: list[tuple[float, str]] = field(default_factory=list)
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _frozen: list[tuple[float, WorkerProcess]] = field(default_factory=list)

    def begin(self) -> None:
        """Fill every place, and wait until all serve."""
        for number in range(len(self.places)):
            self._fill(number)
        self.environment.wait_ready(*self._workers.values())

    def tend(self) -> None:
        """Put somebody where one has died, and let who was stopped for long enough go on."""
        for number, worker in list(self._workers.items()):
            if not worker.is_alive:
                self._note_death(worker)
                self._fill(number)
        now_s = time.monotonic()
        for thaw_s, worker in [each for each in self._frozen if each[0] <= now_s]:
            self._frozen.remove((thaw_s, worker))
            self._thaw(worker)

    def kill(self, role: str) -> None:
        """SIGKILL somebody of that role who is at work."""
        if (worker := self._at_work(role)) is not None:
            self._note_act(f"SIGKILL {role} {worker.pid}")
            worker.kill()
            self.counts[f"SIGKILL {role}"] += 1

    def freeze(self, *, for_s: float) -> None:
        """SIGSTOP a cloud worker, best in the middle of a purchase; ``tend`` sends SIGCONT."""
        if (worker := self._buying() or self._at_work("cloud")) is not None:
            self._note_act(f"SIGSTOP cloud {worker.pid} for {for_s:.1f} s")
            worker.send(signal.SIGSTOP)
            worker.stopped = True
            self._frozen.append((time.monotonic() + for_s, worker))
            self.counts["SIGSTOP cloud"] += 1

    def thaw_all(self) -> None:
        for _, worker in self._frozen:
            self._thaw(worker)
        self._frozen.clear()

    def end(self) -> list[int]:
        """Stop everybody as an administrator would; the exit statuses are what you get."""
        return self.environment.stop(worker for worker in self._workers.values() if worker.is_alive)

    @property
    def are_doomed(self) -> bool:
        """Whether somebody is still to die at a point."""
        doomed = any(worker.point is not None for worker in self._workers.values())
        return doomed or bool(self.points)

    def _note_death(self, worker: WorkerProcess) -> None:
        if worker.wait() != -signal.SIGKILL:
            self.counts[f"{worker.role} ended by itself"] += 1
        elif worker.point is not None and not worker.killed:
            self._note_act(f"died {worker.point}")
            self.died_at.append(worker.point)

    def _fill(self, number: int) -> None:
        role, host = self.places[number]
        point = self.points.pop() if self.points and role == "cloud" else None
        times = self.dice.randint(1, 2)
        self._workers[number] = self.environment.start(role, host=host, point=point, number=times)

    def _thaw(self, worker: WorkerProcess) -> None:
        worker.stopped = False
        self.acts.append((time.time(), f"SIGCONT cloud {worker.pid}"))
        worker.send(signal.SIGCONT)

    def _note_act(self, what: str) -> None:
        self.acts.append((time.time(), what))
        self.say(what)

    def _buying(self) -> WorkerProcess | None:
        """Who announced a paid call last and has not told its answer."""
        latest = (
            select(jobs.c.lease_owner)
            .join(attempts, attempts.c.id == jobs.c.attempt_id)
            .where(
                attempts.c.state == AttemptState.INTENDED,
                jobs.c.state == JobState.RUNNING,
            )
            .order_by(attempts.c.intended_at.desc())
            .limit(1)
        )
        with self.environment.imagen().ledger.read() as connection:
            owner = connection.scalar(latest) or ""
        buying = (a for a in self._available("cloud") if owner.startswith(a.owner_prefix))
        return next(buying, None)

    def _at_work(self, role: str) -> WorkerProcess | None:
        processes = self._available(role)
        held = select(jobs.c.lease_owner).where(
            jobs.c.state.in_([JobState.RUNNING.value, JobState.GENERATED.value])
        )
        with self.environment.imagen().ledger.read() as connection:
            owners = [owner for owner in connection.scalars(held) if owner]
        busy = [a for a in processes if any(owner.startswith(a.owner_prefix) for owner in owners)]
        chosen = busy or processes
        return self.dice.choice(chosen) if chosen else None

    def _available(self, role: str) -> list[WorkerProcess]:
        return [
            worker
            for worker in self._workers.values()
            if worker.role == role and worker.is_alive and not worker.stopped
        ]
