"""A worker that must not start says why, in one line, and what to do."""

from __future__ import annotations

import subprocess
import sys

import pytest
import redis

from imagen.domain.job import Wakeup
from imagen.queue.broker.app import make_app
from imagen.queue.broker.connection import connect
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.wiring.worker_programs import worker_program
from tests.processes.environment import ROOT, Environment


@pytest.fixture
def environment(make_environment, monkeypatch):
    """This process has the variables of a worker; tests change it further."""
    environment: Environment = make_environment()
    for name, value in environment.variables().items():
        monkeypatch.setenv(name, value)
    return environment


def _refusal(capsys, role: str = "gpu") -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        worker_program(role)
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) <= 2, "one line, and a hint"
    assert said.startswith("imagen: ")
    return ended.value.code, said


def test_a_worker_without_a_broker_does_not_start(environment, monkeypatch, capsys):
    monkeypatch.setenv("IMAGEN_BROKER_URL", "")

    status, said = _refusal(capsys)

    assert status == 3
    assert "needs a broker" in said
    assert "IMAGEN_BROKER_URL" in said


def test_a_worker_whose_ledger_is_unreachable_does_not_start(environment, monkeypatch, capsys):
    url = "postgresql://someone:test-password@127.0.0.1:1/nothing"
    monkeypatch.setenv("IMAGEN_DATABASE_URL", url)

    status, said = _refusal(capsys)

    assert status == 5
    assert "unreachable" in said
    assert "IMAGEN_DATABASE_URL" in said
    assert "test-password" not in said


def test_a_worker_on_a_postgresql_without_our_tables_does_not_start(
    environment, postgres_url, monkeypatch, capsys
):
    monkeypatch.setenv("IMAGEN_DATABASE_URL", postgres_url)

    status, said = _refusal(capsys)

    assert status == 3
    assert "imagen db upgrade" in said


@pytest.mark.parametrize("role", ["gpu", "cloud", "results"])
def test_a_sqlite_ledger_and_a_broker_on_another_host_are_refused_before_connecting(
    environment, monkeypatch, capsys, role
):
    # Nobody answers at this address: a connection would end in another message, after seconds.
    monkeypatch.setenv("IMAGEN_BROKER_URL", "redis://:test-password@10.0.0.1:6379/0")

    status, said = _refusal(capsys, role)

    assert status == 3
    assert "redis://10.0.0.1:6379/0" in said
    assert "SQLite" in said
    assert "test-password" not in said


def test_a_worker_whose_messages_are_of_another_ledger_does_not_start(
    environment, make_environment, capsys
):
    other: Environment = make_environment()
    elsewhere = other.publisher
    publisher = CeleryPublisher(
        make_app(environment.redis_url),
        connect(environment.redis_url),
        environment.redis_url,
        elsewhere.ledger_id,
    )
    publisher.wake_workers("gpu", [Wakeup(elsewhere.ledger_id, "mock 64x64 fox")])

    status, said = _refusal(capsys)

    assert status == 3
    assert str(elsewhere.ledger_id) in said
    with redis.Redis.from_url(environment.redis_url) as client:
        assert client.llen("imagen:gpu") == 1, "the message is left to whom it is for"


def test_a_pool_that_loses_jobs_is_refused(environment):
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.gpu", "worker", "--pool", "solo"],
        cwd=ROOT,
        env=environment.variables(),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 1
    assert "use threads" in ended.stderr
    assert "Traceback" not in ended.stderr


_START_AND_LOSE = """
import os, sys
from imagen.wiring.worker_programs import worker_program

program = worker_program("cloud")
os.rename(sys.argv[1], sys.argv[1] + ".before")
with open(sys.argv[1], "wb") as file:
    file.write(b"in the way")
program.run()
"""


@pytest.mark.parametrize(
    ("lost", "status", "says"),
    [("ledger/ledger.db", 5, "cannot be used"), ("hosts/studio/state/imagen", 3, "cannot write")],
)
def test_a_worker_that_loses_what_it_needs_while_it_starts_does_not_go_on_without(
    make_environment, lost, status, says
):
    environment: Environment = make_environment()
    (environment.folder / "hosts/studio/state/imagen").mkdir(parents=True)

    ended = subprocess.run(
        [sys.executable, "-c", _START_AND_LOSE, str(environment.folder / lost)],
        env=environment.variables(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == status, ended.stderr
    assert "ready." not in ended.stderr + ended.stdout
    assert [line for line in ended.stderr.splitlines() if line.startswith("imagen: ")], ended.stderr
    assert says in ended.stderr
