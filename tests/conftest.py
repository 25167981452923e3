"""What every test gets: a home of its own, and one Redis and one PostgreSQL for the whole run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from xdist.workermanage import WorkerController

from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger
from tests.servers.redis_and_postgres import (
    PostgresAddress,
    PostgresServer,
    RedisAddress,
    RedisServer,
)

_SERVERS = pytest.StashKey[ExitStack]()
_PORTS = pytest.StashKey[dict[str, int]]()

# Variables of the developer's shell that a test must not see: imagen's settings and secrets, the
# addresses of other programs' servers, proxies (tests use loopback only), colours and sizes.
_FOREIGN_PREFIXES = (
    *("IMAGEN_", "MAI_", "SUPABASE_", "REPLICATE_", "COMFYUI_", "CELERY_", "FLOWER_"),
    *("TMUX", "PG", "REDIS", "DATABASE_URL"),
)
_FOREIGN_NAMES = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
        *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES"),
    }
)
# These name the servers that tests run on, so tests need them.
_OURS = "IMAGEN_TEST_"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = ExitStack()
    config.stash[_PORTS] = getattr(config, "workerinput", {}).get("imagen_ports", {})
    # Nothing is asserted about time, and a gate that fails must fail again the same way.
    hypothesis.settings.register_profile(
        "imagen", deadline=None, derandomize="CI" in os.environ, print_blob=True
    )
    hypothesis.settings.load_profile("imagen")


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Under xdist the controller owns the servers: it outlives every worker, crashed or not."""
    node.workerinput["imagen_ports"] = {
        "redis": _redis_port(node.config),
        "postgres": _postgres_port(node.config),
    }


def _redis_port(config: pytest.Config) -> int:
    ports = config.stash[_PORTS]
    if "redis" not in ports:
        ports["redis"] = config.stash[_SERVERS].enter_context(RedisServer()).port
    return ports["redis"]


def _postgres_port(config: pytest.Config) -> int:
    ports = config.stash[_PORTS]
    if "postgres" not in ports:
        ports["postgres"] = config.stash[_SERVERS].enter_context(PostgresServer()).port
    return ports["postgres"]


@pytest.fixture(autouse=True)
def isolated_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An empty home folder; the working directory is ``tmp_path``, the environment is clean."""
    for name in list(os.environ):
        foreign = name.startswith(_FOREIGN_PREFIXES) or name in _FOREIGN_NAMES
        if foreign and not name.startswith(_OURS):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in {
        "XDG_CONFIG_HOME": ".config",
        "XDG_STATE_HOME": ".local/state",
        "XDG_DATA_HOME": ".local/share",
        "XDG_CACHE_HOME": ".cache",
        "XDG_RUNTIME_DIR": ".run",
    }.items():
        monkeypatch.setenv(name, str(home / folder))
    (home / ".run").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite ledger: making one takes a quarter of a second, copying it no time."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    ledger = open_ledger("", default_path=path)
    upgrade(ledger)
    ledger.close()
    return path


@pytest.fixture
def made_ledger(isolated_home: Path, ledger_template: Path) -> Path:
    """A new ledger where this test's home has its own."""
    path = isolated_home / ".local/state/imagen/ledger.db"
    path.parent.mkdir(parents=True)
    shutil.copy(ledger_template, path)
    return path


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> RedisAddress:
    """The run's one Redis, shared by all tests: take ``redis_url`` unless you know why."""
    return RedisAddress(_redis_port(pytestconfig))


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresAddress:
    """The run's one PostgreSQL, shared by all tests; it makes databases by the dozen."""
    return PostgresAddress(_postgres_port(pytestconfig))


@pytest.fixture
def redis_url(redis_server: RedisAddress) -> str:
    """An empty Redis database of the test's own (channels are shared all the same)."""
    return redis_server.fresh_url()


@pytest.fixture
def postgres_url(postgres_server: PostgresAddress) -> Iterator[str]:
    """A fresh, empty PostgreSQL database of the test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the test may stop, kill, restart and flush."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop, kill and restart; takes half a second to make."""
    with PostgresServer() as server:
        yield server
