"""ComfyUI servers that go away and come back while workers draw, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select

from imagen.domain.job import JobState
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.ledger.store.tables import attempts
from tests.chaos.scenario import Scenario, open_run
from tests.fakes.comfyui import FakeComfyUI
from tests.processes.environment import SHORT_LEASES, Environment
from tests.processes.worker_process import WorkerProcess
from tests.waiting import wait_until

BACKEND = "flux-schnell-local"


@dataclass(frozen=True)
class Outage:
    """What happens; ``scale`` divides the times that the product waits, and those of the outage."""

    folder: Path
    jobs: int = 500
    away_s: float = 60.0
    scale: float = 1.0
    concurrency: int = 2
    draw_s: float = 0.05
    database: str = "sqlite"
    #: The servers are started after the workers, instead of going away amid the jobs.
    server_later: bool = False
    say: Callable[[str], None] = lambda _: None

    def scenario(self, hosts: Mapping[str, FakeComfyUI]) -> Scenario:
        """One ComfyUI for each host, all of them backends of the same name."""
        defaults = {"check_s": 5.0, "backoff_base_s": 2.0, "backoff_max_s": 120.0}
        waits = {name: seconds / self.scale for name, seconds in defaults.items()}
        backends_of = {host: {BACKEND: self._backend(fake)} for host, fake in hosts.items()}
        return Scenario(
            self.folder,
            backends=next(iter(backends_of.values())),
            backends_of=backends_of,
            database=self.database,
            workers={**SHORT_LEASES, **waits, "concurrency": {"gpu": self.concurrency}},
            say=self.say,
        )

    def _backend(self, fake: FakeComfyUI) -> dict[str, Any]:
        return {"type": "comfyui", "url": fake.url, "restart_wait_s": 120 / self.scale}


@dataclass(frozen=True)
class OutageCost:
    """What an outage cost. Times are those that passed, not divided by any scale."""

    failed: int
    #: By worker: how often it gave a job back.
    put_back: list[int]
    attempts: int
    #: From the server's return until the next image was drawn.
    first_image_s: float
    seconds: float


@contextmanager
def _environment(outage: Outage, hosts: Mapping[str, FakeComfyUI]) -> Iterator[Environment]:
    """The environment with a worker that delivers."""
    with open_run(outage.scenario(hosts)) as run:
        run.environment.start_ready("results")
        yield run.environment


def go_away_amid_jobs(outage: Outage) -> OutageCost:
    """One host whose ComfyUI is killed amid the jobs, or is started after the worker."""
    fake = FakeComfyUI(draw_s=outage.draw_s)
    fake.start()
    if outage.server_later:
        fake.kill()
    began_s = time.monotonic()
    with _environment(outage, {"attic": fake}) as environment:
        try:
            worker = environment.start_ready("gpu", host="attic")
            _submit(environment, outage.jobs)
            if not outage.server_later:
                wait_until(lambda: _drawn(environment) > outage.jobs // 10, what="some are drawn")
                fake.kill()
            outage.say(f"ComfyUI is away for {outage.away_s / outage.scale:g} s")
            time.sleep(outage.away_s / outage.scale)
            drawn_before = fake.records.count_drawings()
            fake.start()
            back_s = time.monotonic()
            wait_until(
                lambda: fake.records.count_drawings() > drawn_before, what="an image", timeout_s=120
            )
            first_image_s = time.monotonic() - back_s
            environment.wait_for_all()
            return _cost(environment, [worker], first_image_s, time.monotonic() - began_s)
        finally:
            fake.kill()


@dataclass(frozen=True)
class Shares:
    """Images a second of the healthy host: alone, and beside one whose server is away."""

    alone: float
    beside: float
    failed: int
    put_back: int


def one_host_away(outage: Outage) -> Shares:
    """Two hosts, jobs of 0.2 s, the ComfyUI of one of them away."""
    healthy, away = FakeComfyUI(draw_s=outage.draw_s), FakeComfyUI()
    healthy.start()
    away.start()
    away.kill()
    with _environment(outage, {"attic": healthy, "cellar": away}) as environment:
        try:
            environment.start_ready("gpu", host="attic")
            alone = _rate(environment, outage.jobs)
            broken = environment.start_ready("gpu", host="cellar")
            beside = _rate(environment, outage.jobs)
            failed = environment.states().get(JobState.FAILED, 0)
            return Shares(alone, beside, failed, _put_back(broken))
        finally:
            healthy.kill()


@dataclass(frozen=True)
class Traffic:
    """Per second, of all processes together."""

    redis_commands: float
    statements: float


def both_hosts_away(outage: Outage, *, watch_s: float = 10.0) -> tuple[Traffic, Traffic]:
    """The traffic of two idle hosts, and of two with jobs that neither can draw.

    Statements are counted on PostgreSQL only, by its transactions.
    """
    servers = [FakeComfyUI(), FakeComfyUI()]
    for server in servers:
        server.start()
        server.kill()
    hosts = dict(zip(("attic", "cellar"), servers, strict=True))
    with _environment(outage, hosts) as environment:
        workers = [environment.start_ready("gpu", host=host) for host in hosts]
        idle = _traffic(environment, watch_s)
        _submit(environment, outage.jobs)
        wait_until(
            lambda: sum(len(each.open_circuits) for each in _live(environment)) == len(workers),
            what="both workers have an open circuit",
            timeout_s=60,
        )
        # What was fetched before, and put back, is over within its wait.
        time.sleep(3.0)
        away = _traffic(environment, watch_s)
        return idle, away


def _live(environment: Environment) -> list[Any]:
    return live_workers(environment.ledger, within_s=30)


def _traffic(environment: Environment, watch_s: float) -> Traffic:
    with redis.Redis.from_url(environment.redis_url) as client:
        before = _commands(client), _transactions(environment)
        time.sleep(watch_s)
        after = _commands(client), _transactions(environment)
    commands, statements = ((b - a) / watch_s for a, b in zip(before, after, strict=True))
    return Traffic(commands, statements)


def _commands(client: redis.Redis) -> int:
    found: Mapping[str, Mapping[str, int]] = client.info("commandstats")
    return sum(each["calls"] for each in found.values())


def _transactions(environment: Environment) -> int:
    ledger = environment.ledger
    if ledger.kind != "postgresql":
        return 0
    with ledger.read() as connection:
        statement = (
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        return int(connection.exec_driver_sql(statement).scalar_one())


def _rate(environment: Environment, jobs: int) -> float:
    """Images a second, from the first to the last of so many jobs."""
    before = _drawn(environment)
    _submit(environment, jobs)
    wait_until(lambda: _drawn(environment) > before, what="the first is drawn", timeout_s=60)
    began_s, began = time.monotonic(), _drawn(environment)
    wait_until(lambda: _drawn(environment) >= before + jobs, what="all are drawn", timeout_s=600)
    return (before + jobs - began) / (time.monotonic() - began_s)


def _submit(environment: Environment, jobs: int) -> None:
    environment.submit(f"a fox, number {number}" for number in range(jobs))


def _drawn(environment: Environment) -> int:
    states = environment.states()
    return states.get(JobState.SUCCEEDED, 0) + states.get(JobState.GENERATED, 0)


def _put_back(worker: WorkerProcess) -> int:
    return worker.log.read_text(errors="replace").count("job_put_back")


def _cost(
    environment: Environment, workers: list[WorkerProcess], first_image_s: float, seconds: float
) -> OutageCost:
    ledger = environment.ledger
    with ledger.read() as connection:
        number = connection.scalar(select(func.count()).select_from(attempts)) or 0
    failed = environment.states().get(JobState.FAILED, 0)
    return OutageCost(failed, [_put_back(each) for each in workers], number, first_image_s, seconds)
