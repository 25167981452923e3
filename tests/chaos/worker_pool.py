"""The worker pool of a scenario: it keeps its slots filled and kills the workers in them."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from imagen.domain.job import JobState
from imagen.errors import ImagenError
from imagen.ledger.jobs.named_locks import release_lock
from imagen.ledger.store.tables import jobs, locks
from imagen.services.leases.reconcile import LOCK_NAME
from tests.chaos.recovery import RecoveryWatch
from tests.processes.environment import HOST, Environment
from tests.processes.kill_points import KillPoint
from tests.processes.worker_process import WorkerProcess

#: Seconds after which a worker with a rare kill point is helped to reach it.
_HELP_AFTER_S = 3.0
#: Seconds after which a kill point that was not reached is an error; or so many leases, where
#: turns have to run out first.
_GIVE_UP_AFTER_S = 60.0
_GIVE_UP_AFTER_LEASES = 6


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker that always runs: when it ends, another one is started in its slot.

    Attributes:
        has_own_host: each of its workers is on a host of its own, where no lock file tells other
            processes that it has ended.
        uses_kill_points: its workers end at the kill points of their role while any are left.
    """

    role: str
    host: str = HOST
    skew_s: float = 0.0
    has_own_host: bool = False
    uses_kill_points: bool = False


@dataclass
class WorkerPool:
    """Workers on slots, and the signals that they are sent.

    Attributes:
        kill_points: by role; used up in an order that ``random`` decides.
        idle_share: how often ``pick`` takes any worker instead of one that holds jobs.
        counts: what was done, and how workers ended.
        died_at: the kill points at which a process has ended.
        acts: what was done and when, in seconds since the epoch.
    """

    environment: Environment
    slots: Sequence[Slot]
    recovery: RecoveryWatch
    random: random.Random
    kill_points: Mapping[str, Sequence[KillPoint]]
    idle_share: float = 0.2
    say: Callable[[str], None] = lambda _: None
    counts: Counter[str] = field(default_factory=Counter)
    died_at: list[KillPoint] = field(default_factory=list)
    acts: list[tuple[float, str]] = field(default_factory=list)
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _left: dict[str, list[KillPoint]] = field(default_factory=dict)
    _frozen: list[tuple[float, WorkerProcess]] = field(default_factory=list)

    def start(self) -> None:
        """Fill every slot, and wait until all workers without a kill point serve."""
        for role, points in self.kill_points.items():
            self._left[role] = self.random.sample(points, len(points))
        for number in range(len(self.slots)):
            self._fill(number)
        for worker in self._workers.values():
            if worker.point is None:
                worker.wait_ready()

    def stop(self) -> list[int]:
        """SIGTERM to all, as an administrator would; returns the exit statuses."""
        return self.environment.stop(each for each in self._workers.values() if each.is_alive)

    def tend(self) -> None:
        """Fill the slots of workers that have ended, and thaw those frozen for long enough."""
        for number, worker in list(self._workers.items()):
            if not worker.is_alive:
                self._note_end(worker)
                self._fill(number)
        now_s = time.monotonic()
        for entry in [each for each in self._frozen if each[0] <= now_s]:
            self._frozen.remove(entry)
            self._thaw(entry[1])

    def wait(self, seconds: float) -> None:
        """Tend the pool for that long."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.tend()
            time.sleep(0.02)

    def calm_down(self) -> None:
        """Thaw what is frozen, and replace workers that still have a kill point."""
        self._left = {}
        for _, worker in self._frozen:
            self._thaw(worker)
        self._frozen.clear()
        for number, worker in list(self._workers.items()):
            if worker.point is not None and worker.is_alive:
                worker.kill()
            if not worker.is_alive:
                self._note_end(worker)
                self._left = {}
                self._fill(number)

    # What is done to the workers.

    def pick(self, role: str | None = None) -> WorkerProcess | None:
        """A running worker, of that role if one is given, preferably one that holds jobs."""
        running = self.running(role)
        owners = self._busy_owners()
        busy = [each for each in running if any(o.startswith(each.owner_prefix) for o in owners)]
        chosen = busy if busy and self.random.random() >= self.idle_share else running
        return self.random.choice(chosen) if chosen else None

    def running(self, role: str | None = None) -> list[WorkerProcess]:
        """The workers that run and are not frozen."""
        return [
            each
            for each in self._workers.values()
            if each.is_alive and not each.is_stopped and role in (None, each.role)
        ]

    def kill(self, worker: WorkerProcess | None) -> None:
        """SIGKILL; nothing where ``pick`` found none."""
        if worker is not None:
            self.note(f"SIGKILL {worker}")
            worker.kill()
            self.counts[f"SIGKILL {worker.role}"] += 1
            self.tend()

    def kill_slot(self, number: int) -> None:
        """SIGKILL to the worker in that slot, once it serves."""
        worker = self._workers[number]
        worker.wait_ready()
        self.kill(worker)

    def terminate(self, worker: WorkerProcess | None) -> None:
        """SIGTERM, unless the worker does not serve yet: then a signal would end it at once."""
        if worker is not None and worker.said("ready."):
            self.note(f"SIGTERM {worker}")
            worker.send(signal.SIGTERM)
            self.counts["SIGTERM"] += 1

    def freeze(self, worker: WorkerProcess | None, *, for_s: float) -> None:
        """SIGSTOP; ``tend`` sends SIGCONT after that time."""
        if worker is not None:
            self.note(f"SIGSTOP {worker} for {for_s:.1f} s")
            worker.freeze()
            self._frozen.append((time.monotonic() + for_s, worker))
            self.counts[f"SIGSTOP {worker.role}"] += 1

    def note(self, what: str) -> None:
        """Say what is done, and keep it with the time."""
        self.acts.append((time.time(), what))
        self.say(what)

    @property
    def kills(self) -> int:
        """How many SIGKILLs were sent."""
        return sum(number for what, number in self.counts.items() if what.startswith("SIGKILL"))

    # Kill points.

    def points_left(self) -> list[KillPoint]:
        """The kill points at which no process has ended yet, of roles that have a slot."""
        roles = {slot.role for slot in self.slots}
        waiting = [point for role in sorted(roles) for point in self._left.get(role, ())]
        return waiting + [each.point for each in self._workers.values() if each.point is not None]

    def help_reach_points(self, flush_redis: Callable[[], None]) -> None:
        """Bring a worker to a kill point that only the reconciling process passes.

        The process that has the turn is killed, so that the worker with the kill point gets it.
        Where that worker has it already, Redis is flushed: otherwise there may never be a wake-up
        to send.

        Raises:
            AssertionError: a worker did not come to its kill point; with the stacks of its threads.
        """
        self._check_progress()
        waited = [
            time.monotonic() - each.started_s
            for each in self._workers.values()
            if each.point is not None and each.point.is_rare
        ]
        if max(waited, default=0.0) <= _HELP_AFTER_S:
            return
        ledger = self.environment.ledger
        with ledger.read() as connection:
            leader = connection.scalar(select(locks.c.owner).where(locks.c.name == LOCK_NAME))
        for slot, worker in zip(self.slots, list(self._workers.values()), strict=True):
            if not leader or not leader.startswith(worker.owner_prefix):
                continue
            if worker.point is not None:
                flush_redis()
                continue
            self.note(f"SIGKILL {worker}, which reconciles")
            worker.kill()
            self.counts[f"SIGKILL {worker.role}"] += 1
            if slot.has_own_host:
                # Neighbours would see at once that it has ended, other hosts only when its turn
                # runs out: the worker with the kill point would never be first.
                release_lock(ledger, LOCK_NAME, leader)

    def _check_progress(self) -> None:
        leases_s = _GIVE_UP_AFTER_LEASES * self.environment.workers["lease_s"]
        for worker in self._workers.values():
            waited_s = time.monotonic() - worker.started_s
            if worker.point is None or waited_s < max(_GIVE_UP_AFTER_S, leases_s):
                continue
            worker.send(signal.SIGUSR2)
            time.sleep(1.0)
            log = worker.log.read_text(errors="replace")[-8000:]
            raise AssertionError(
                f"{worker} has not come to {worker.point} in {waited_s:.0f} s:\n{log}"
            )

    # Slots.

    def _fill(self, number: int) -> None:
        slot = self.slots[number]
        left = self._left.get(slot.role)
        point = left.pop() if left and slot.uses_kill_points else None
        host = f"{slot.role}-{len(self.environment.processes)}" if slot.has_own_host else slot.host
        self._workers[number] = self.environment.start(
            slot.role,
            host=host,
            point=point,
            number=1 if point is None or point.is_rare else self.random.randint(1, point.last_call),
            skew_s=slot.skew_s,
        )

    def _note_end(self, worker: WorkerProcess) -> None:
        status = worker.wait()
        self.counts["deaths"] += 1
        if status == -signal.SIGKILL:
            self.recovery.note_death(worker.owner_prefix)
        elif status:
            self.counts[f"exit {status}"] += 1
        if worker.point is None:
            return
        if status == -signal.SIGKILL and not worker.is_killed:
            self.note(f"{worker} died {worker.point}")
            self.died_at.append(worker.point)
        else:
            # It ended elsewhere first: another worker gets the point.
            self._left.setdefault(worker.role, []).append(worker.point)

    def _thaw(self, worker: WorkerProcess) -> None:
        if worker.is_alive:
            self.acts.append((time.time(), f"SIGCONT {worker}"))
        worker.thaw()

    def _busy_owners(self) -> set[str]:
        held = [JobState.RUNNING.value, JobState.GENERATED.value]
        statement = select(jobs.c.lease_owner).where(
            jobs.c.state.in_(held), jobs.c.lease_owner.is_not(None)
        )
        try:
            with self.environment.ledger.read() as connection:
                return set(connection.scalars(statement))
        except ImagenError:
            return set()
