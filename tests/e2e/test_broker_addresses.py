"""Each way to write a Redis with a password serves command and worker, and none is ever shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.servers.redis_and_postgres import RedisServer

pytestmark = pytest.mark.e2e

SECRET = "s3cret-word"  # of a Redis that lives as long as this test
PATIENCE_S = 90.0


class LockedRedis(RedisServer):
    """A Redis with a password, that also listens at a Unix socket."""

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    def _command(self) -> list[str]:
        return [*super()._command(), "--unixsocket", str(self.socket)]


@pytest.fixture(scope="module")
def locked() -> Iterator[LockedRedis]:
    with LockedRedis() as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", SECRET)
        yield server


def command_line(pid: int) -> str:
    """The title that `ps` shows, as the process has it now."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


@pytest.mark.parametrize(
    "form",
    [
        "redis://:{secret}@127.0.0.1:{port}/1",
        "redis://127.0.0.1:{port}/2?password={secret}",
        "unix://:{secret}@{socket}?db=4",
        "unix://{socket}?db=5&password={secret}",
    ],
)
def test_command_and_worker_use_the_address_and_show_no_password(
    locked: LockedRedis, tmp_path: Path, form: str
) -> None:
    url = form.format(secret=SECRET, port=locked.port, socket=locked.socket)
    env = {**os.environ, "IMAGEN_BROKER_URL": url, "IMAGEN_DEBUG": "1"}
    imagen = [sys.executable, "-m", "imagen"]
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen([*imagen, "worker", "gpu"], env=env, stdout=out, stderr=out)
    try:
        done = subprocess.run(
            [
                *imagen,
                "generate",
                "a fox",
                "-b",
                "mock",
                "-s",
                "64x64",
                "--wait",
                "--timeout",
                "60",
            ],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        title = command_line(worker.pid)
        looked = subprocess.run(
            [*imagen, "doctor"], env=env, capture_output=True, text=True, check=False
        )
    finally:
        worker.terminate()
        worker.wait(PATIENCE_S)

    assert done.returncode == 0, done.stderr
    assert "ok       broker: Redis " in looked.stdout
    shown = done.stderr + done.stdout + looked.stdout + looked.stderr + title + log.read_text()
    assert SECRET not in shown
