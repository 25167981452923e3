"""ComfyUI servers that go away and come back while workers draw, and what that costs.

``python -m tests.chaos.outages`` plays each scenario and prints a line; `make chaos` runs it.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from imagen.ledger.store.tables import attempts
from tests.chaos.environment import SHORT_LEASES, Environment, WorkerProcess, wait_until
from tests.fakes.comfyui import FakeComfyUI
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

BACKEND = "flux-schnell-local"


@dataclass
class Hosts(Environment):
    """A stage whose hosts have backends of the same name, each its own server."""

    #: By host: what stands in its configuration under ``backends``.
    backends_of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def variables(self, host: str = "studio") -> dict[str, str]:
        environment = super().variables(host)
        if host in self.backends_of:
            path = self.folder / f"{host}.yaml"
            content = json.loads(self.config_path.read_text())
            path.write_text(json.dumps(content | {"backends": self.backends_of[host]}))
            environment["IMAGEN_CONFIG"] = str(path)
        return environment


@dataclass
class Scenario:
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

    @property
    def workers(self) -> dict[str, Any]:
        """The settings of the workers."""
        usual = {"check_s": 5.0, "backoff_base_s": 2.0, "backoff_max_s": 120.0}
        waits = {name: seconds / self.scale for name, seconds in usual.items()}
        return dict(SHORT_LEASES) | waits | {"concurrency": {"gpu": self.concurrency}}


@dataclass(frozen=True)
class Cost:
    """What an outage cost. Times are those that passed, not divided by any scale."""

    failed: int
    #: By worker: how often it gave a job back.
    put_back: list[int]
    attempts: int
    #: From the server's return until a job was drawn that had not been begun before.
    first_image_s: float
    seconds: float


@contextmanager
def prepared(scenario: Scenario, hosts: Mapping[str, FakeComfyUI]) -> Iterator[Hosts]:
    """A stage with one ComfyUI for each host, and a worker that delivers."""
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        database_url = ""
        if scenario.database == "postgresql":
            database_url = stack.enter_context(PostgresServer()).create_database()
        backends_of = {host: {BACKEND: _comfyui(fake, scenario)} for host, fake in hosts.items()}
        environment = stack.enter_context(
            Hosts(
                scenario.folder,
                redis_server.url,
                database_url,
                workers=scenario.workers,
                backends=next(iter(backends_of.values())),
                backends_of=backends_of,
            )
        )
        environment.start_ready("results")
        yield environment


def _comfyui(fake: FakeComfyUI, scenario: Scenario) -> dict[str, Any]:
    return {"type": "comfyui", "url": fake.url, "restart_wait_s": 120 / scenario.scale}


def go_away_amid_jobs(scenario: Scenario) -> Cost:
    """One host whose ComfyUI is killed amid the jobs, or is started after the worker."""
    fake = FakeComfyUI(draw_s=scenario.draw_s)
    fake.start()
    if scenario.server_later:
        fake.kill()
    began_s = time.monotonic()
    with prepared(scenario, {"attic": fake}) as environment:
        try:
            worker = environment.start_ready("gpu", host="attic")
            _submit(environment, scenario.jobs)
            if not scenario.server_later:
                wait_until(lambda: _drawn(environment) > scenario.jobs // 10, what="some are drawn")
                fake.kill()
            scenario.say(f"ComfyUI is away for {scenario.away_s / scenario.scale:g} s")
            time.sleep(scenario.away_s / scenario.scale)
            drawn_before = fake.records.count_drawings()
            fake.start()
            back_s = time.monotonic()
            wait_until(
                lambda: fake.records.count_drawings() > drawn_before, what="an image", timeout_s=120
            )
            first_image_s = time.monotonic() - back_s
            wait_for_all(environment)
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


def one_host_away(scenario: Scenario) -> Shares:
    """Two hosts, jobs of 0.2 s, the ComfyUI of one of them away."""
    healthy, away = FakeComfyUI(draw_s=scenario.draw_s), FakeComfyUI()
    healthy.start()
    away.start()
    away.kill()
    with prepared(scenario, {"attic": healthy, "cellar": away}) as environment:
        try:
            environment.start_ready("gpu", host="attic")
            alone = _rate(environment, scenario.jobs)
            broken = environment.start_ready("gpu", host="cellar")
            beside = _rate(environment, scenario.jobs)
            failed = count_states(environment.imagen().ledger, EVERYTHING).get(JobState.FAILED, 0)
            return Shares(alone, beside, failed, _put_back(broken))
        finally:
            healthy.kill()


@dataclass(frozen=True)
class Traffic:
    """Per second, of all processes together."""

    redis_commands: float
    statements: float


def both_hosts_away(scenario: Scenario, *, watch_s: float = 10.0) -> tuple[Traffic, Traffic]:
    """The traffic of two idle hosts, and of two with jobs that neither can draw.

    Statements are counted on PostgreSQL only, by its transactions.
    """
    servers = [FakeComfyUI(), FakeComfyUI()]
    for server in servers:
        server.start()
        server.kill()
    hosts = dict(zip(("attic", "cellar"), servers, strict=True))
    with prepared(scenario, hosts) as environment:
        workers = [environment.start_ready("gpu", host=host) for host in hosts]
        idle = _traffic(environment, watch_s)
        _submit(environment, scenario.jobs)
        wait_until(
            lambda: sum(len(each.open_circuits) for each in _live(environment)) == len(workers),
            what="both workers leave their server alone",
            timeout_s=60,
        )
        # What was fetched before, and put back, is over within its wait.
        time.sleep(3.0)
        away = _traffic(environment, watch_s)
        return idle, away


def _live(environment: Environment) -> list[Any]:
    return live_workers(environment.imagen().ledger, within_s=30)


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
    ledger = environment.imagen().ledger
    if ledger.kind != "postgresql":
        return 0
    with ledger.read() as connection:
        statement = (
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        return int(connection.exec_driver_sql(statement).scalar_one())


def _rate(environment: Hosts, jobs: int) -> float:
    """Images a second, from the first to the last of so many jobs."""
    before = _drawn(environment)
    _submit(environment, jobs)
    wait_until(lambda: _drawn(environment) > before, what="the first is drawn", timeout_s=60)
    began_s, began = time.monotonic(), _drawn(environment)
    wait_until(lambda: _drawn(environment) >= before + jobs, what="all are drawn", timeout_s=600)
    return (before + jobs - began) / (time.monotonic() - began_s)


def _submit(environment: Hosts, jobs: int) -> None:
    environment.submit(f"a fox, number {number}" for number in range(jobs))


def _drawn(environment: Environment) -> int:
    states = count_states(environment.imagen().ledger, EVERYTHING)
    return states.get(JobState.SUCCEEDED, 0) + states.get(JobState.GENERATED, 0)


def wait_for_all(environment: Environment, *, timeout_s: float = 600.0) -> None:
    """Block until every job is over."""
    wait_until(
        lambda: not has_unfinished(environment.imagen().ledger, EVERYTHING),
        what="every job is over",
        timeout_s=timeout_s,
    )


def _put_back(worker: WorkerProcess) -> int:
    return worker.log.read_text(errors="replace").count("job_put_back")


def _cost(
    environment: Environment, workers: list[WorkerProcess], first_image_s: float, seconds: float
) -> Cost:
    ledger = environment.imagen().ledger
    with ledger.read() as connection:
        number = connection.scalar(select(func.count()).select_from(attempts)) or 0
    failed = count_states(ledger, EVERYTHING).get(JobState.FAILED, 0)
    return Cost(failed, [_put_back(each) for each in workers], number, first_image_s, seconds)


def main() -> int:
    began_s = time.monotonic()
    done = threading.Event()

    def say(text: str) -> None:
        if not done.is_set():
            print(f"{time.monotonic() - began_s:7.1f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="imagen-outages-") as folder:
        for name, scenario in {
            "away for 60 s": Scenario(Path(folder, "1"), say=say),
            "away for 10 min, ten times as fast": Scenario(
                Path(folder, "2"), away_s=600, scale=10, say=say
            ),
            "worker first, server 60 s later": Scenario(
                Path(folder, "3"), server_later=True, say=say
            ),
        }.items():
            say(f"{name}: {go_away_amid_jobs(scenario)}")
        healthy = Scenario(Path(folder, "4"), jobs=150, draw_s=0.2, say=say)
        say(f"one host of two away: {one_host_away(healthy)}")
        both = Scenario(Path(folder, "5"), database="postgresql", say=say)
        say(f"both away, traffic a second: {both_hosts_away(both)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
