"""The seeded play: who dies, when and how, until everything that was asked for has happened."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import redis
from sqlalchemy import select

from imagen.domain.job import JobState
from imagen.errors import ImagenError
from imagen.ledger.jobs.named_locks import release_lock
from imagen.ledger.store.tables import jobs, locks
from imagen.services.leases.reconcile import LOCK_NAME
from tests.chaos.environment import HOST, Environment, WorkerProcess
from tests.chaos.kill_points import POINTS, KillPoint
from tests.chaos.recovery import RecoveryWatch
from tests.servers.server_process import ServerProcess

#: For how long somebody doomed may wait for its turn.
_LONG_ENOUGH_S = 3.0
#: … and after which something must be wrong with it; in leases too, as turns may have to run out.
_TOO_LONG_S = 60.0
_TOO_MANY_LEASES = 6


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one worker: when it dies, another takes it.

    Whoever takes a ``doomed`` one dies at the next point of its role's list.
    """

    role: str
    host: str = HOST
    skew_s: float = 0.0
    doomed: bool = False


@dataclass
class WorkerPool:
    """Keeps the slots filled, and does one thing after another to who is in them.

    ``points`` are worked off in the doomed slots, in an order that the dice decide.
    """

    environment: Environment
    slots: list[Slot]
    watch: RecoveryWatch
    dice: random.Random
    redis_server: ServerProcess | None = None
    postgres_server: ServerProcess | None = None
    points: Mapping[str, list[KillPoint]] = field(default_factory=lambda: POINTS)
    #: Each drawing process is on a host of its own: no lock file says that it has died.
    is_apart: bool = False
    pause_s: tuple[float, float] = (0.2, 0.7)
    say: Callable[[str], None] = lambda _: None
    counts: Counter[str] = field(default_factory=Counter)
    #: The points at which a process really died.
    died_at: list[KillPoint] = field(default_factory=list)
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _left: dict[str, list[KillPoint]] = field(default_factory=dict)
    _frozen: list[tuple[float, WorkerProcess]] = field(default_factory=list)

    def begin(self) -> None:
        """Fill every slot, and wait until those who are to live serve."""
        for role, points in self.points.items():
            self._left[role] = self.dice.sample(points, len(points))
        for number in range(len(self.slots)):
            self._fill(number)
        self.environment.wait_ready(
            *(worker for worker in self._workers.values() if worker.point is None)
        )

    @property
    def points_left(self) -> int:
        """How many points nobody has died at yet, of roles that are played."""
        roles = {slot.role for slot in self.slots}
        doomed = sum(1 for worker in self._workers.values() if worker.point is not None)
        return sum(len(points) for role, points in self._left.items() if role in roles) + doomed

    def left(self) -> list[str]:
        """The same, for people."""
        doomed = [
            str(worker.point) for worker in self._workers.values() if worker.point is not None
        ]
        return [str(point) for points in self._left.values() for point in points] + doomed

    def tend(self) -> None:
        """Note who has died, fill their slots, and wake who was frozen for long enough."""
        for number, worker in list(self._workers.items()):
            if not worker.is_alive:
                self._note_death(worker)
                self._fill(number)
        for thaw_s, worker in list(self._frozen):
            if time.monotonic() >= thaw_s:
                self._frozen.remove((thaw_s, worker))
                worker.stopped = False
                if worker.is_alive:
                    worker.send(signal.SIGCONT)

    def make_way(self) -> None:
        """Bring it to the places that only the one who looks after everybody's jobs passes.

        Whoever has the turn is killed for somebody doomed to have it; and where the doomed has it,
        Redis is flushed, as otherwise there may never be a wake-up to send.
        """
        self._blame_who_never_comes()
        waits = any(
            worker.point is not None
            and worker.point.is_rare
            and time.monotonic() - worker.started_s > _LONG_ENOUGH_S
            for worker in self._workers.values()
        )
        if not waits:
            return
        with self.environment.imagen().ledger.read() as connection:
            leader = connection.scalar(select(locks.c.owner).where(locks.c.name == LOCK_NAME))
        for worker in list(self._workers.values()):
            if not leader or not leader.startswith(worker.owner_prefix):
                continue
            if worker.point is not None:
                self.flush_redis()
                continue
            self.say(f"SIGKILL {worker.role} {worker.pid}, which reconciles")
            worker.kill()
            self.counts["SIGKILL"] += 1
            if self.is_apart:
                # Its neighbours know at once that it is dead, other hosts only when its time is up:
                # the doomed would never be first.
                release_lock(self.environment.imagen().ledger, LOCK_NAME, leader)

    def _blame_who_never_comes(self) -> None:
        """Raises AssertionError, with its stacks, for somebody doomed who has had every chance."""
        most_s = max(_TOO_LONG_S, _TOO_MANY_LEASES * self.environment.workers["lease_s"])
        for worker in self._workers.values():
            waited_s = time.monotonic() - worker.started_s
            if worker.point is None or waited_s < most_s:
                continue
            worker.send(signal.SIGUSR2)
            time.sleep(1.0)
            log = worker.log.read_text(errors="replace")[-8000:]
            who = f"{worker.role} {worker.pid}"
            raise AssertionError(
                f"{who} has not come to {worker.point} in {waited_s:.0f} s:\n{log}"
            )

    def wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.tend()
            time.sleep(0.02)

    def kill_one(self, role: str | None = None) -> None:
        """SIGKILL somebody, preferably at work."""
        worker = self._pick(role)
        if worker is None:
            return
        self.say(f"SIGKILL {worker.role} {worker.pid}")
        worker.kill()
        self.counts["SIGKILL"] += 1
        self.tend()

    def kill_slot(self, number: int) -> None:
        """SIGKILL whoever is in that slot, once it serves."""
        worker = self._workers[number]
        self.environment.wait_ready(worker)
        self.say(f"SIGKILL {worker.role} {worker.pid}")
        worker.kill()
        self.counts[f"SIGKILL {worker.role}"] += 1
        self.tend()

    def terminate_one(self) -> None:
        worker = self._pick(None)
        # Before it serves, a signal ends a process on the spot, which SIGKILL does already.
        if worker is None or not worker.said("ready."):
            return
        self.say(f"SIGTERM {worker.role} {worker.pid}")
        worker.send(signal.SIGTERM)
        self.counts["SIGTERM"] += 1

    def freeze_one(self, *, for_s: float) -> None:
        """SIGSTOP somebody at work for longer than a lease, then SIGCONT."""
        worker = self._pick(None)
        if worker is None:
            return
        self.say(f"SIGSTOP {worker.role} {worker.pid} for {for_s:g} s")
        worker.send(signal.SIGSTOP)
        worker.stopped = True
        self._frozen.append((time.monotonic() + for_s, worker))
        self.counts["SIGSTOP"] += 1

    def restart_redis(self, *, down_s: float = 1.0) -> None:
        assert self.redis_server is not None
        self.say(f"Redis killed, for {down_s:g} s")
        self.redis_server.kill()
        self.wait(down_s)
        self.redis_server.start()
        self.counts["Redis killed"] += 1

    def flush_redis(self) -> None:
        self.say("FLUSHALL")
        with redis.Redis.from_url(self.environment.redis_url) as client:
            client.flushall()
        self.counts["FLUSHALL"] += 1

    def restart_postgres(self, *, down_s: float = 1.0, kill: bool = True) -> None:
        assert self.postgres_server is not None
        self.say(f"PostgreSQL {'killed' if kill else 'stopped'}, for {down_s:g} s")
        self.postgres_server.kill() if kill else self.postgres_server.stop()
        self.wait(down_s)
        self.postgres_server.start()
        self.counts["PostgreSQL restarted"] += 1

    def calm_down(self) -> None:
        """Nobody is doomed any more; who is frozen goes on."""
        self._left = {}
        for _, worker in self._frozen:
            if worker.is_alive:
                worker.send(signal.SIGCONT)
            worker.stopped = False
        self._frozen.clear()
        for number, worker in list(self._workers.items()):
            if worker.point is not None and worker.is_alive:
                worker.kill()
            if not worker.is_alive:
                self._note_death(worker)
                self._left = {}
                self._fill(number)

    def end(self) -> list[int]:
        """Stop everybody as an administrator would; the exit statuses are what you get."""
        return self.environment.stop(worker for worker in self._workers.values() if worker.is_alive)

    def _note_death(self, worker: WorkerProcess) -> None:
        status = worker.wait()
        if status == -signal.SIGKILL:
            self.watch.note_death(worker.owner_prefix)
        elif status:
            self.counts[f"exit {status}"] += 1
        if worker.point is not None and status == -signal.SIGKILL and not worker.killed:
            self.died_at.append(worker.point)
        elif worker.point is not None:
            # Something else was faster: the next one dies there.
            self._left.setdefault(worker.role, []).append(worker.point)
        self.counts["deaths"] += 1

    def _fill(self, number: int) -> None:
        slot = self.slots[number]
        left = self._left.get(slot.role)
        point = left.pop() if left and slot.doomed else None
        host = slot.host
        if self.is_apart and slot.role != "results":
            host = f"{slot.role}-{len(self.environment.processes)}"
        self._workers[number] = self.environment.start(
            slot.role,
            host=host,
            point=point,
            # Some are passed once only in a process's life.
            number=1 if point is None or point.is_rare else self.dice.randint(1, 3),
            skew_s=slot.skew_s,
        )

    def _pick(self, role: str | None) -> WorkerProcess | None:
        processes = [
            worker
            for worker in self._workers.values()
            if worker.is_alive and not worker.stopped and role in (None, worker.role)
        ]
        busy = self._busy_owners()
        at_work = [a for a in processes if any(o.startswith(a.owner_prefix) for o in busy)]
        # Now and then somebody idle, or just starting.
        chosen = at_work if at_work and self.dice.random() < 0.8 else processes
        return self.dice.choice(chosen) if chosen else None

    def _busy_owners(self) -> set[str]:
        held = [JobState.RUNNING.value, JobState.GENERATED.value]
        statement = select(jobs.c.lease_owner).where(
            jobs.c.state.in_(held), jobs.c.lease_owner.is_not(None)
        )
        try:
            with self.environment.imagen().ledger.read() as connection:
                return set(connection.scalars(statement))
        except ImagenError:
            return set()
