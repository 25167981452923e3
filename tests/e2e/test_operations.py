"""The recipes of the operations guide work: its Redis user, and a PostgreSQL role for each host."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis

from tests.processes.site import Site
from tests.servers.redis_and_postgres import PostgresServer, RedisServer
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs"
PASSWORD = "test-redis-password"
CONFIG = """
backends:
  cloudy: {type: mock, queue: cloud, cost_usd: 0.01}
  flaky: {type: mock, fail_first: 1}
  strict: {type: mock, reject: true}
  held: {type: mock}
output: {cloud_sync: off}
workers: {backoff_base_s: 0.2}
"""
LOGINS = {
    "gpu_one": "imagen_gpu",
    "cloud_one": "imagen_cloud",
    "desk_results": "imagen_results",
    "somebody": "imagen_client",
}


def redis_rules() -> list[str]:
    """What the guide's Redis user may do, with a password of ours."""
    (line,) = re.findall(r"^user imagen (.*)$", (DOCS / "operations.md").read_text(), re.M)
    return [f">{PASSWORD}" if rule.startswith(">") else rule for rule in line.split()]


@pytest.fixture(scope="module")
def site_redis() -> Iterator[RedisServer]:
    """A Redis of the site's own, whose users are changed."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, site_redis: RedisServer) -> Iterator[Site]:
    """A site set up by the guide, with a worker of each role."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("site")
        (folder / "imagen.yaml").write_text(CONFIG)
        postgres_url = stack.enter_context(PostgresServer()).create_database()
        broker_url = site_redis.url.replace("://", f"://imagen:{PASSWORD}@")
        site = Site(folder, postgres_url, broker_url)
        with redis.Redis.from_url(site_redis.url) as client:
            client.execute_command("ACL", "SETUSER", "imagen", *redis_rules())
        assert site.imagen("db", "upgrade", login="postgres").returncode == 0
        for _ in ("once", "and again after an upgrade"):
            site.sql((DOCS / "postgresql-roles.sql").read_text())
        for login, role in LOGINS.items():
            site.sql(f"CREATE ROLE {login} LOGIN IN ROLE {role}")
        for role, login in [
            ("gpu", "gpu_one"),
            ("cloud", "cloud_one"),
            ("results", "desk_results"),
        ]:
            stack.enter_context(site.worker(role, login=login))
        wait_for(
            lambda: site.sql("SELECT count(*) FROM imagen.workers") == [(3,)], what="the workers"
        )
        yield site


def _generate(site: Site, backend: str) -> subprocess.CompletedProcess[str]:
    return site.imagen(
        *("generate", "a fox", "--backend", backend, "--size", "64x64", "--wait"),
        *("--timeout", "60"),
    )


@pytest.mark.parametrize("backend", ["mock", "cloudy", "flaky"])
def test_hosts_with_roles_of_their_own_draw_and_deliver(site: Site, backend: str):
    done = _generate(site, backend)

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).stat().st_size > 0


def test_a_gpu_host_with_a_role_of_its_own_can_say_that_a_job_failed(site: Site):
    done = _generate(site, "strict")

    assert done.returncode == 1
    assert "configured to reject" in done.stderr


def test_people_with_a_role_of_their_own_pause_cancel_retry_and_wait(site: Site):
    said = [site.imagen("backends", "pause", "held")]
    said += [site.imagen("generate", "a fox", "--backend", "held", "--size", "64x64")]
    job_id = said[-1].stdout.strip()
    said += [
        site.imagen("jobs", "cancel", job_id),
        site.imagen("jobs", "retry", job_id),
        site.imagen("backends", "resume", "held"),
        site.imagen("jobs", "wait", job_id),
    ]

    assert [(done.returncode, done.stderr) for done in said if done.returncode] == []
    assert Path(said[-1].stdout.strip()).is_file()


def test_the_redis_user_of_the_guide_may_do_all_that_is_done(site: Site, site_redis: RedisServer):
    with redis.Redis.from_url(site_redis.url) as client:
        assert _generate(site, "mock").returncode == 0
        refused = {each["object"] for each in client.acl_log() if each["username"] == "imagen"}
    # redis-py tells its own name to every Redis, also to one below 7.2, which has no use for it.
    assert refused - {"client"} == set()


def test_the_redis_user_of_the_guide_may_do_nothing_else(site_redis: RedisServer):
    with redis.Redis.from_url(site_redis.url) as client:
        client.execute_command("ACL", "SETUSER", "visitor", *redis_rules())
    url = site_redis.url.replace("://", f"://visitor:{PASSWORD}@")
    commands = [
        *("FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "SHUTDOWN", "CLIENT LIST"),
        *("GET elses", "PUBLISH elses x", "SUBSCRIBE elses"),
    ]

    with redis.Redis.from_url(url) as client:
        for command in commands:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT data FROM imagen.artifacts",
        "SELECT * FROM imagen.batches",
        "SELECT * FROM imagen.images",
        "SELECT * FROM mai.imagen_usage",
        "INSERT INTO imagen.jobs SELECT * FROM imagen.jobs",
        "DELETE FROM imagen.jobs",
        "DELETE FROM imagen.attempts",
        "UPDATE imagen.jobs SET request = '{}'",
        "UPDATE imagen.jobs SET output_path = '/tmp/elsewhere.png'",
        "UPDATE imagen.jobs SET delivery_host = 'elsewhere'",
        "UPDATE imagen.meta SET value = ''",
        "CREATE TABLE imagen.more (id int)",
    ],
)
def test_a_gpu_host_may_not(site: Site, statement: str):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        site.sql(statement, login="gpu_one")


def test_a_gpu_host_sees_neither_other_queues_nor_what_is_long_done(site: Site):
    for backend in ("mock", "cloudy"):
        assert _generate(site, backend).returncode == 0
    site.sql("UPDATE imagen.jobs SET finished_at = finished_at - interval '1 hour'")

    assert site.sql("SELECT count(*) FROM imagen.jobs", login="gpu_one") == [(0,)]
    assert site.sql("SELECT count(*) FROM imagen.jobs", login="desk_results") != [(0,)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO imagen.jobs SELECT * FROM imagen.jobs",
        "DELETE FROM imagen.jobs",
        "UPDATE imagen.jobs SET output = '{}'",
        "UPDATE imagen.meta SET value = ''",
    ],
)
@pytest.mark.parametrize("login", ["cloud_one", "desk_results"])
def test_no_worker_may(site: Site, login: str, statement: str):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        site.sql(statement, login=login)
