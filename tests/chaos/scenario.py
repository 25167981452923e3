"""A scenario: what is drawn, which faults are injected meanwhile, what must be true afterwards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Row, select

from imagen.domain.job import TERMINAL_STATES
from imagen.ledger.store.tables import jobs
from tests.chaos.audit import Audit, audit, reconcile_once
from tests.chaos.purchase_audit import PurchaseAudit, audit_purchases
from tests.chaos.recovery import RecoveryWatch
from tests.chaos.worker_pool import Slot, WorkerPool
from tests.fakes.replicate import FakeReplicate
from tests.processes.environment import SHORT_LEASES, Backends, Environment
from tests.processes.kill_points import KillPoint
from tests.servers.redis_and_postgres import PostgresServer, RedisServer
from tests.servers.server_process import ServerProcess
from tests.waiting import wait_until


def _do_nothing(_run: ScenarioRun) -> None:
    pass


@dataclass(frozen=True)
class Scenario:
    """The settings of one run.

    Attributes:
        submit, inject: submit the first jobs, and inject the faults until enough have struck.
        seed: the same seed makes the same choices in the same order.
        workers, backends, backends_of, secrets: of the environment.
        slots: the workers that are kept running.
        kill_points: by role; used in the slots that say so.
        idle_share: of the worker pool.
        provider: a fake Replicate, started with the run; its predictions are audited.
        calls_log: where a mock backend writes its paid calls, which are audited.
        timeout_s: for the faults, and again for the jobs that are left after them.
    """

    folder: Path
    backends: Backends
    slots: Sequence[Slot] = ()
    submit: Callable[[ScenarioRun], None] = _do_nothing
    inject: Callable[[ScenarioRun], None] = _do_nothing
    seed: int = 1
    database: str = "postgresql"
    workers: Mapping[str, Any] = field(default_factory=lambda: SHORT_LEASES)
    backends_of: Mapping[str, Backends] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    kill_points: Mapping[str, Sequence[KillPoint]] = field(default_factory=dict)
    idle_share: float = 0.2
    provider: FakeReplicate | None = None
    calls_log: Path | None = None
    timeout_s: float = 300.0
    say: Callable[[str], None] = lambda _: None


@dataclass
class ScenarioRun:
    """A scenario while it runs: its environment, its workers and its servers."""

    scenario: Scenario
    environment: Environment
    pool: WorkerPool
    recovery: RecoveryWatch
    random: random.Random
    redis_server: ServerProcess
    postgres_server: ServerProcess | None

    def deadline(self) -> Callable[[], None]:
        """A check that raises AssertionError once the scenario's time is over."""
        until_s = time.monotonic() + self.scenario.timeout_s

        def check() -> None:
            assert time.monotonic() < until_s, (
                f"{self.environment.states()}, kill points left: {self.pool.points_left()}"
            )

        return check

    def wait_for_all(self) -> None:
        """Tend the pool until every job has ended and every queue is empty."""
        check = self.deadline()
        while set(self.environment.states()) - TERMINAL_STATES:
            check()
            self.pool.wait(0.1)
        wait_until(lambda: self.environment.count_messages() == 0, what="queues are empty")

    def flush_redis(self) -> None:
        """Delete all that Redis holds."""
        self.pool.note("FLUSHALL")
        with redis.Redis.from_url(self.environment.redis_url) as client:
            client.flushall()
        self.pool.counts["FLUSHALL"] += 1

    def kill_redis(self, *, down_s: float = 1.0) -> None:
        """SIGKILL to Redis; it starts again after that time."""
        self._kill_server(self.redis_server, "Redis", down_s)

    def kill_postgres(self, *, down_s: float = 1.0) -> None:
        """The same for PostgreSQL."""
        assert self.postgres_server is not None
        self._kill_server(self.postgres_server, "PostgreSQL", down_s)

    def _kill_server(self, server: ServerProcess, name: str, down_s: float) -> None:
        self.pool.note(f"{name} killed, for {down_s:g} s")
        server.kill()
        self.pool.wait(down_s)
        server.start()
        self.pool.counts[f"{name} killed"] += 1


@dataclass(frozen=True)
class Result:
    """What a run has done, and what was found after it; ``breaches`` is empty when all is well."""

    audit: Audit
    purchases: PurchaseAudit | None
    breaches: Sequence[str]
    pool: WorkerPool
    recovery: RecoveryWatch
    #: The table of jobs.
    jobs: Sequence[Row[Any]]
    seconds: float


@contextmanager
def open_run(scenario: Scenario) -> Iterator[ScenarioRun]:
    """Start the servers and make the environment; no worker runs yet."""
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        postgres_server = None
        if scenario.database == "postgresql":
            postgres_server = stack.enter_context(PostgresServer())
        if scenario.provider is not None:
            stack.enter_context(scenario.provider)
        environment = stack.enter_context(
            Environment(
                scenario.folder,
                redis_server.url,
                postgres_server.create_database() if postgres_server else "",
                workers=scenario.workers,
                backends=scenario.backends,
                backends_of=scenario.backends_of,
                secrets=scenario.secrets,
            )
        )
        recovery = stack.enter_context(RecoveryWatch(environment.ledger))
        dice = random.Random(scenario.seed)
        pool = WorkerPool(
            environment,
            scenario.slots,
            recovery,
            dice,
            scenario.kill_points,
            idle_share=scenario.idle_share,
            say=scenario.say,
        )
        yield ScenarioRun(
            scenario, environment, pool, recovery, dice, redis_server, postgres_server
        )


def run_scenario(scenario: Scenario) -> Result:
    """Run it to its end and audit what is left. Blocks for a minute or more."""
    began_s = time.monotonic()
    with open_run(scenario) as run:
        run.pool.start()
        scenario.submit(run)
        scenario.inject(run)
        run.pool.calm_down()
        scenario.say("no more faults; waiting for the rest")
        run.wait_for_all()
        statuses = run.pool.stop()
        assert not any(statuses), f"workers did not stop cleanly: {statuses}"
        reconcile_once(run.environment)
        found = audit(run.environment, calls_log=scenario.calls_log)
        breaches = list(found.breaches)
        purchases = None
        if scenario.provider is not None:
            purchases = audit_purchases(run.environment, scenario.provider, acts=run.pool.acts)
            breaches += purchases.breaches
        with run.environment.ledger.read() as connection:
            rows = connection.execute(select(jobs)).all()
        return Result(
            found,
            purchases,
            breaches,
            run.pool,
            run.recovery,
            rows,
            time.monotonic() - began_s,
        )
