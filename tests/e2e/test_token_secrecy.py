"""Secrets stand in the environment and in the calls that need them, and nowhere else.

The provider's token in one header, a model's own secret in the body that orders an image.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from psycopg import sql

from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.pauses import paused_backends
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from tests.chaos.paid_backend import BACKEND, TOKEN_ENV, paid_backends, paid_workers
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.processes.environment import Environment
from tests.servers.redis_and_postgres import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TOKEN = "test-token-that-must-not-be-found"
#: What a model wants for itself.
KEY, KEY_ENV = "sk-that-must-not-be-found", "OPENAI_API_KEY"
KEEPER = "keeper"
#: One of each way in which an answer, a picture or a refusal may carry something onwards.
TROUBLE = [
    ReplicateFault.THROTTLED,
    ReplicateFault.LOST_AFTER_CREATION,
    ReplicateFault.ERROR_BEFORE_CREATION,
    ReplicateFault.TORN_ANSWER,
    ReplicateFault.UNAUTHENTICATED,
    ReplicateFault.INVALID_INPUT,
    ReplicateFault.NOT_FOUND,
    ReplicateFault.MODERATED,
    ReplicateFault.BROKEN,
    ReplicateFault.OUTPUT_ELSEWHERE,
    ReplicateFault.POLL_ERROR,
    ReplicateFault.LIST_LOST,
    ReplicateFault.DOWNLOAD_ERROR,
    ReplicateFault.DOWNLOAD_REDIRECTED,
    ReplicateFault.DOWNLOAD_GARBAGE,
]


@pytest.fixture
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate(tokens=(TOKEN,), late_s=0.1) as fake:
        for fault in TROUBLE:
            fake.inject(fault)
        yield fake


def imagen(environment: Environment, *words: str, **variables: str) -> str:
    """All that the command says, to both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "imagen", *words],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=environment.output,
        env=environment.variables() | {"IMAGEN_LOG": "debug", "IMAGEN_DEBUG": "1"} | variables,
        timeout=120,
    )
    return done.stdout


def say_everything(environment: Environment) -> str:
    """What the commands print that look at jobs, backends and the configuration."""
    asked = [
        ("jobs", "ls", "--json"),
        ("backends", "list", "--json"),
        ("config", "validate"),
        ("doctor",),
    ]
    shown = [("jobs", "show", str(job_id), "--json") for job_id in job_ids(environment)]
    return "\n".join(imagen(environment, *words) for words in asked + shown[:3])


def job_ids(environment: Environment) -> list[object]:
    with environment.ledger.read() as connection:
        return list(
            connection.exec_driver_sql(f"SELECT id FROM {jobs_table(environment)}").scalars()
        )


def jobs_table(environment: Environment) -> str:
    return "imagen.jobs" if environment.ledger.kind == "postgresql" else "jobs"


def files_with(token: str, folders: Iterable[Path]) -> list[Path]:
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    ]


def redis_content(url: str) -> Iterator[bytes]:
    """Every key, and its value as Redis would save it and as it reads."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("*"):
            yield key
            yield client.dump(key) or b""
            if client.type(key) == b"list":
                yield from client.lrange(key, 0, -1)


def postgres_content(url: str) -> Iterator[str]:
    """Every row of every table, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert ("imagen", "attempts") in tables
        for schema, table in tables:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            yield from (row[0] for row in connection.execute(query))


def assert_only_in_the_api_header(fake: FakeReplicate) -> None:
    assert {call.host for call in fake.calls} == {"api", "delivery"}
    for call in fake.calls:
        headers = dict(call.headers)
        sent = headers.pop("Authorization", None)
        assert sent == (f"Bearer {TOKEN}" if call.host == "api" else None)
        assert TOKEN not in f"{call.path} {headers} {call.text}"


def test_a_run_over_the_queue_leaves_the_token_nowhere(
    tmp_path: Path, fake: FakeReplicate, postgres_url: str, own_redis: RedisServer
) -> None:
    with ExitStack() as stack:
        environment = stack.enter_context(
            Environment(
                tmp_path / "stage",
                own_redis.url,
                postgres_url,
                workers=paid_workers(threads=4),
                backends=paid_backends(fake),
                secrets={TOKEN_ENV: TOKEN},
            )
        )
        processes = [environment.start_ready("cloud"), environment.start_ready("results")]
        environment.submit(
            [f"fox number {number}" for number in range(20)], backend=BACKEND, size="512x512"
        )
        ledger = environment.ledger
        # The refused token pauses the account until it is resumed.
        wait_until(lambda: bool(paused_backends(ledger)), what="the pause", timeout_s=120)
        rows = list(postgres_content(postgres_url))
        assert any(TOKEN_ENV in row for row in rows)
        said = imagen(environment, "backends", "resume", BACKEND)
        said += imagen(environment, "generate", "an owl", "--backend", BACKEND, "--wait", "--json")
        wait_until(
            lambda: not has_unfinished(ledger, EVERYTHING), what="all is over", timeout_s=120
        )
        titles = [psutil.Process(worker.pid).cmdline() for worker in processes]
        own_redis_content = list(redis_content(own_redis.url))
        said += say_everything(environment)
        assert [worker.terminate() for worker in processes] == [0, 0]

        assert len(list(environment.output.glob("*.png"))) > 10
        assert files_with(TOKEN, [environment.folder, own_redis.folder]) == []
        assert not any(TOKEN.encode() in value for value in own_redis_content)
        rows += postgres_content(postgres_url)
        assert not any(TOKEN in row for row in rows)
        assert TOKEN not in said
        assert TOKEN not in str(titles)
    assert_only_in_the_api_header(fake)


def test_a_command_on_its_own_leaves_the_token_nowhere(tmp_path: Path, fake: FakeReplicate) -> None:
    environment = Environment(
        tmp_path / "stage",
        "",
        workers=paid_workers(threads=4),
        backends=paid_backends(fake),
        secrets={TOKEN_ENV: TOKEN},
    )
    with environment:
        (environment.folder / "prompts.txt").write_text("".join(f"fox {n}\n" for n in range(12)))
        batch = ("batch", "../prompts.txt", "--backend", BACKEND, "--json")
        said = imagen(environment, *batch)
        # The refused token has paused the account.
        said += imagen(environment, "backends", "resume", BACKEND)
        said += imagen(environment, *batch)
        said += imagen(environment, "generate", "an owl", "--backend", BACKEND)
        for fault in (ReplicateFault.UNAUTHENTICATED, ReplicateFault.NO_CREDIT):
            fake.inject(fault)
            said += imagen(environment, "generate", "a hare", "--backend", BACKEND)
        said += imagen(environment, "generate", "a heron", "--backend", BACKEND, "--timeout", "1")
        said += imagen(environment, "backends", "resume", BACKEND)
        # What no header can carry is refused, and not repeated either.
        broken = {TOKEN_ENV: f"{TOKEN}\nX-Header: 1"}
        said += imagen(environment, "generate", "a crane", "--backend", BACKEND, **broken)
        said += say_everything(environment)

        assert len(list(environment.output.glob("*.png"))) > 5
        assert files_with(TOKEN, [environment.folder]) == []
        assert TOKEN not in said
    assert TOKEN_ENV in said
    assert "is paused: " in said
    assert_only_in_the_api_header(fake)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("has_workers", [False, True], ids=["embedded", "queue"])
def test_a_models_own_secret_is_left_nowhere(
    tmp_path: Path, postgres_url: str, own_redis: RedisServer, has_workers: bool, database: str
) -> None:
    with FakeReplicate(tokens=(TOKEN,)) as fake:
        paid = paid_backends(fake)[BACKEND]
        keeper = {"model": "acme/keeper", "input_env": {"openai_api_key": KEY_ENV}}
        environment = Environment(
            tmp_path / "stage",
            own_redis.url if has_workers else "",
            postgres_url if database == "postgresql" else "",
            workers=paid_workers(threads=2),
            backends={KEEPER: paid | keeper},
            secrets={TOKEN_ENV: TOKEN, KEY_ENV: KEY},
        )
        with environment:
            (environment.folder / "storks.txt").write_text("a stork\n")
            if has_workers:
                for worker in [environment.start("cloud"), environment.start("results")]:
                    worker.wait_ready()
            asked = ("generate", "a stork", "--output", "stork.png", "--wait")
            said = [
                imagen(environment, *asked),
                imagen(environment, *asked, "--opt", f"openai_api_key={KEY}", "--json"),
                imagen(environment, "batch", "../storks.txt", "--opt", f"hf_token={KEY}"),
                imagen(environment, "show", "stork.png"),
                say_everything(environment),
            ]
            redis_said = list(redis_content(own_redis.url))

            sidecar = json.loads((environment.output / "stork.png.json").read_text())
            assert sidecar["details"]["input"]["openai_api_key"] == "(set)"
            assert "input_env: {openai_api_key: OPENAI_API_KEY}" in said[1]
            assert "input_env: {hf_token: HF_TOKEN}" in said[2]
            assert KEY not in "".join(said)
            assert files_with(KEY, [environment.folder, own_redis.folder]) == []
            assert not any(KEY.encode() in value for value in redis_said)
            if database == "postgresql":
                assert not any(KEY in row for row in postgres_content(postgres_url))
        [order] = [call for call in fake.calls if KEY in call.text]
        assert json.loads(order.body)["input"]["openai_api_key"] == KEY
        assert not any(KEY in f"{call.path} {call.headers}" for call in fake.calls)
