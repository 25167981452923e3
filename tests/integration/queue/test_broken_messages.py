"""No message ends a worker: what is no message of ours is dropped with one line in the log."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import run as run_program
from typing import Any
from uuid import uuid4

import pytest
import redis

from imagen.domain.job import JobState
from imagen.queue.broker.app import make_app
from imagen.queue.broker.connection import connect
from tests.integration.queue.conftest import QueueEnvironment
from tests.processes.worker_process import WorkerProcess
from tests.servers.redis_and_postgres import RedisAddress
from tests.waiting import wait_until

SECRET = "a-prompt-that-no-log-may-hold"
Message = dict[str, Any]


def _without(*path: str) -> Callable[[Message], Message]:
    def change(message: Message) -> Message:
        part = message
        for key in path[:-1]:
            part = part[key]
        del part[path[-1]]
        return message

    return change


def _with(value: Any, *path: str) -> Callable[[Message], Message]:
    def change(message: Message) -> Message:
        part = message
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value
        return message

    return change


def _body(content: Any) -> Callable[[Message], Message]:
    text = content if isinstance(content, str) else json.dumps(content)
    return _with(base64.b64encode(text.encode()).decode(), "body")


_TYPED = {"__type__": "datetime", "__value__": SECRET}

#: Bytes as they stand in the queue.
RAW = {
    "garbage": SECRET.encode(),
    "nothing": b"",
    "binary": bytes(range(256)),
    "a list": json.dumps([SECRET]).encode(),
    "a text": json.dumps(SECRET).encode(),
    "a number": b"12",
    "null": b"null",
    "an empty object": b"{}",
    "half a message": b'{"body": "W1si',
    "a hundred thousand levels": b"[" * 100_000 + b"]" * 100_000,
    "ten thousand levels": b"[" * 10_000 + b"]" * 10_000,
    "a number of 5,000 digits": b'{"headers": ' + b"9" * 5_000 + b"}",
    "a megabyte": json.dumps({"headers": "x" * 1_000_000}).encode(),
    "a value that cannot be converted": json.dumps({"headers": _TYPED}).encode(),
}

#: What is changed in a good message.
CHANGED: dict[str, Callable[[Message], Message]] = {
    "no headers": _without("headers"),
    "no properties": _without("properties"),
    "no body": _without("body"),
    "no task": _without("headers", "task"),
    "no id": _without("headers", "id"),
    "no delivery tag": _without("properties", "delivery_tag"),
    "no delivery info": _without("properties", "delivery_info"),
    "no content type": _without("content-type"),
    "headers that are a list": _with([SECRET], "headers"),
    "properties that are null": _with(None, "properties"),
    "a task that is null": _with(None, "headers", "task"),
    "a task that is a list": _with([SECRET], "headers", "task"),
    "an unknown task": _with(SECRET, "headers", "task"),
    "a task of Celery's": _with("celery.backend_cleanup", "headers", "task"),
    "an id that is none": _with(SECRET, "headers", "id"),
    "a delivery tag that is a list": _with([1], "properties", "delivery_tag"),
    "a delivery info that is a text": _with(SECRET, "properties", "delivery_info"),
    "a priority that is a text": _with(SECRET, "properties", "priority"),
    "a time limit that is a text": _with(SECRET, "headers", "timelimit"),
    "a due time that is a text": _with(SECRET, "headers", "eta"),
    "an expiry that is a list": _with([SECRET], "headers", "expires"),
    "retries that are a text": _with(SECRET, "headers", "retries"),
    "an unknown compression": _with("application/x-rar", "headers", "compression"),
    "pickle": _with("application/x-python-serialize", "content-type"),
    "yaml": _with("application/x-yaml", "content-type"),
    "an unknown content encoding": _with("klingon", "content-encoding"),
    "an unknown body encoding": _with("klingon", "properties", "body_encoding"),
    "a body that is not base64": _with(f"!{SECRET}!", "body"),
    "a body that is a number": _with(7, "body"),
    "a body that is no JSON": _body(SECRET),
    "a body of two parts": _body([[SECRET], {}]),
    "a body without arguments": _body([[], {}, {}]),
    "a body with options": _body([["label"], {"prompt": SECRET}, {}]),
    "a body that calls another task": _body([["label"], {}, {"callbacks": [{"task": SECRET}]}]),
}


def _good_message(redis_url: str) -> Message:
    """What our publisher writes, of a job that does not exist."""
    app = make_app(redis_url)
    with connect(redis_url) as client:
        app.send_task("imagen.generate", args=["mock 64x64 fox"], queue="aside")
        message: Message = json.loads(client.rpop("imagen:aside"))
    app.close()
    return message


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisAddress
) -> Iterator[QueueEnvironment]:
    """One worker for all: it lives until the last message."""
    folder = tmp_path_factory.mktemp("broken")
    with QueueEnvironment(folder / "stage", redis_server.fresh_url()) as environment:
        environment.start_ready("gpu")
        yield environment


@pytest.fixture
def worker(environment: QueueEnvironment) -> WorkerProcess:
    return environment.processes[0]


@pytest.fixture
def put(environment: QueueEnvironment) -> Callable[[bytes], None]:
    def put(raw: bytes) -> None:
        with redis.Redis.from_url(environment.redis_url) as client:
            client.lpush("imagen:gpu", raw)

    return put


def _require_dropped(
    environment: QueueEnvironment, worker: WorkerProcess, put: Callable[[], None]
) -> None:
    """``put`` puts one broken message; the next good one is drawn, and there is one line more."""
    before = worker.log.read_text(errors="replace")
    put()
    job_id = environment.submit_one()
    environment.wait_for(job_id, JobState.GENERATED)
    new = worker.log.read_text(errors="replace")[len(before) :]

    assert worker.is_alive
    assert new.count("message_dropped") == 1
    assert "Traceback" not in new
    assert SECRET not in new
    wait_until(
        lambda: environment.count_messages("gpu") == 0 == environment.count_fetched(),
        what="nothing is kept",
    )


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_bytes_that_are_no_message_are_dropped_with_one_line(environment, worker, put, raw):
    _require_dropped(environment, worker, lambda: put(raw))


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_message_of_another_shape_is_dropped_with_one_line(environment, worker, put, change):
    message = change(_good_message(environment.redis_url))

    _require_dropped(environment, worker, lambda: put(json.dumps(message).encode()))


def test_a_message_that_celery_cannot_take_is_dropped_with_one_line(environment, worker, put):
    message = _good_message(environment.redis_url)
    message["headers"]["args"] = SECRET
    message["headers"] |= {"eta": "0001-01-01T00:00:00+14:00"}

    before = worker.log.read_text(errors="replace")
    put(json.dumps(message).encode())
    environment.wait_for(environment.submit_one(), JobState.GENERATED)

    assert worker.is_alive
    assert "Unrecoverable" not in worker.log.read_text(errors="replace")[len(before) :]


@pytest.mark.parametrize(
    "raw",
    [b"garbage", b"{}", b"[]", b"[" * 100_000, b'{"properties": {}}', b'{"properties": 1}'],
    ids=["no JSON", "an empty object", "a list", "deep", "no delivery tag", "a number"],
)
def test_a_broken_control_message_ends_nobody(environment, worker, raw):
    with redis.Redis.from_url(environment.redis_url) as client:
        database = client.connection_pool.connection_kwargs["db"]
        heard = client.publish(f"imagen:/{database}.celery.pidbox", raw)

    assert heard == 1
    environment.wait_for(environment.submit_one(), JobState.GENERATED)
    assert worker.is_alive
    assert "Unrecoverable" not in worker.log.read_text(errors="replace")


def test_two_messages_of_one_delivery_tag_are_both_finished(environment, worker, put):
    message = _good_message(environment.redis_url)
    for _ in range(2):
        message["headers"]["id"] = str(uuid4())
        put(json.dumps(message).encode())

    environment.wait_for(environment.submit_one(), JobState.GENERATED)

    assert worker.is_alive
    wait_until(
        lambda: environment.count_messages("gpu") == 0 == environment.count_fetched(),
        what="nothing is kept",
    )


_PROGRAM = """
import sys
from celery.bootsteps import StartStopStep
from imagen.queue.broker.app import make_app
from imagen.queue.worker.program import run, serve

class Broken(StartStopStep):
    def start(self, worker):
        raise RuntimeError("nothing can be done about it")

app = make_app(sys.argv[1])
serve(app, ["gpu"], concurrency=1)
app.steps["worker"].add(Broken)
run(app, "gpu")
"""


def test_an_error_that_ends_a_worker_is_its_exit_status(tmp_path: Path, redis_url: str):
    done = run_program(
        [sys.executable, "-c", _PROGRAM, redis_url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "nothing can be done about it" in done.stderr
    assert done.returncode == 1
