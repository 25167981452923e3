"""Flower shows what goes on and gives nothing away: real workers, a real page, a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
import requests

from imagen.domain.job import Wakeup
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.store.engine import Ledger
from imagen.services.submit.resolve import RequestInput, make_draft, resolve
from imagen.wiring.parts import opened_ledger, opened_registry, submit_context
from imagen.wiring.process import Process, open_process
from imagen.wiring.queue_parts import make_queue_publisher
from tests.processes.commands import running
from tests.servers.redis_and_postgres import RedisServer
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

LOGIN = ("watcher", "test-flower-password")
REDIS_PASSWORD = "test-redis-password"
TOKEN = "test-token"
HOST = "drawing-office"
MIDDLE, TAIL = "kaleidoscope", "zanzibar"
PROMPT = f"A red fox in fresh snow at first light, {MIDDLE} reflections, " + "soft, " * 200 + TAIL
SECRETS = (MIDDLE, TAIL, REDIS_PASSWORD, LOGIN[1], TOKEN)
# Celery quotes the label when it sends a retry by itself.
LABEL = re.compile(r"\('?([a-z]+) 64x64 [a-z0-9-]{1,24}(',)?\)")
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

# No process tops up the queue while a test looks: each job has its one wake-up.
CONFIG = f"""
default_backend: mock
backends:
  flaky: {{type: mock, fail_first: 1}}
  strict: {{type: mock, reject_if_contains: {TAIL}}}
  prudish: {{type: mock, moderate_if_contains: {TAIL}}}
output: {{cloud_sync: off}}
workers: {{backoff_base_s: 0.2, reconcile_s: 3600}}
"""


@dataclass
class Office:
    """A Redis with a password, a gpu and a results worker, and Flower."""

    folder: Path
    env: dict[str, str]
    url: str = ""
    #: backend -> the id of the job that it was asked to draw.
    jobs: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str, *command: str) -> Iterator[Path]:
        """That program, until the block ends; what is given is its log."""
        log = self.folder / f"{name}.log"
        with running(*command, log=log, cwd=self.folder, env=self.env):
            yield log

    def get(self, path: str, *, login: tuple[str, str] | None = LOGIN) -> requests.Response:
        return requests.get(self.url + path, auth=login, timeout=20)

    def post(self, path: str) -> requests.Response:
        return requests.post(self.url + path, auth=LOGIN, timeout=20)

    def worker(self, role: str) -> str | None:
        """The name of the worker of that role, once Flower has heard from it."""
        pattern = rf'flower_worker_online{{worker="({role}-[^"]+)"}} 1'
        found = re.search(pattern, self.get("/metrics").text)
        return found[1] if found else None

    def task(self, backend: str) -> dict[str, Any]:
        """What Flower knows of the job of a backend; empty while it knows nothing."""
        answer = self.get(f"/api/task/info/{self.jobs[backend]}")
        return answer.json() if answer.status_code == 200 else {}

    def draw(self, backend: str) -> None:
        """Ask for an image and wait until Flower has heard of the end."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "imagen", "generate", PROMPT, "--backend", backend),
                *("--size", "64x64", "--output", f"{backend}.png"),
            ],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.jobs[backend] = done.stdout.strip()
        wait_for(
            lambda: self.task(backend).get("state") in ("SUCCESS", "FAILURE"),
            what=f"the end of the task that {backend} got",
        )

    def page(self, path: str, *, until: str) -> str:
        """The document that a browser has made of a page once it contains ``until``."""

        def look() -> str | None:
            document = self._browse(path)
            return document if until in document else None

        return str(wait_for(look, what=f"{until!r} on the page {path}"))

    def _browse(self, path: str) -> str:
        program = next(filter(None, map(shutil.which, BROWSERS)), None)
        assert program, "no Chromium; on Debian: apt-get install chromium"
        address = self.url.replace("://", "://{}:{}@".format(*LOGIN)) + path
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--disable-background-networking", "--virtual-time-budget=5000"]
        options += ["--window-size=1400,900", f"--user-data-dir={self.folder / 'browser'}"]
        done = subprocess.run(
            [program, *options, "--dump-dom", address],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _environment(folder: Path, broker_url: str) -> dict[str, str]:
    (folder / "imagen.yaml").write_text(CONFIG)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "TMPDIR": str(folder),
        "IMAGEN_CONFIG": str(folder / "imagen.yaml"),
        "IMAGEN_BROKER_URL": broker_url,
        "IMAGEN_HOST": HOST,
        "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        # Whoever sets it finds the door shut all the same.
        "FLOWER_UNAUTHENTICATED_API": "true",
        "REPLICATE_API_TOKEN": TOKEN,
    }


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office in which one job of each backend has come to its end."""
    folder = tmp_path_factory.mktemp("office")
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", REDIS_PASSWORD)
        broker_url = server.url.replace("://", f"://:{REDIS_PASSWORD}@")
        office = Office(folder, _environment(folder, broker_url))
        log = stack.enter_context(
            office.running("flower", "celery", "-A", "workers.monitor", "flower", "--port=0")
        )
        banner = re.compile(r"Visit me at (http://127\.0\.0\.1:[1-9]\d*)")
        found = wait_for(lambda: banner.search(log.read_text()), what="Flower's address")
        office.url = found[1]
        for role in ("gpu", "results"):
            stack.enter_context(office.running(role, f"workers.{role}"))
        for role in ("gpu", "results"):
            wait_for(lambda role=role: office.worker(role), what=f"the {role} worker in Flower")
        for backend in ("mock", "flaky", "strict", "prudish"):
            office.draw(backend)
        yield office


def test_a_task_in_flower_is_named_by_backend_size_and_a_short_slug(office: Office):
    tasks = office.get("/api/tasks?taskname=imagen.generate").json()

    labels = {LABEL.fullmatch(task["args"])[1] for task in tasks.values()}
    assert labels == {"mock", "flaky", "strict", "prudish"}
    assert {task["kwargs"] for task in tasks.values()} == {"{}"}


def test_a_task_in_flower_ends_with_job_state_and_seconds(office: Office):
    shown = office.task("mock")

    assert re.fullmatch(
        rf"{{'job': '{office.jobs['mock']}', 'state': 'generated', 'seconds': [\d.]+}}",
        shown["result"],
    )


def test_a_failed_job_is_a_failure_in_flower_with_its_reason(office: Office):
    refused, moderated = office.task("strict"), office.task("prudish")

    assert (refused["state"], moderated["state"]) == ("FAILURE", "FAILURE")
    assert "BackendRejected" in refused["exception"]
    assert "ContentRejected" in moderated["exception"]


@pytest.fixture
def asking(office: Office) -> Iterator[tuple[Process, Ledger]]:
    """This process as one that asks for images."""
    process = open_process(None, office.env)
    with opened_ledger(process) as ledger:
        yield process, ledger


def _wake(asking: tuple[Process, Ledger], job_id: str) -> None:
    label = "strict 64x64 a-red-fox-in-fresh-snow"
    make_queue_publisher(*asking).wake_workers("gpu", [Wakeup(UUID(job_id), label)])


def _submit_quietly(asking: tuple[Process, Ledger], folder: Path, backend: str) -> str:
    """Accept a job without a message for it; its id."""
    request_input = RequestInput(
        prompt="a fox", backend=backend, size="64x64", output=str(folder / "quiet.png")
    )
    process, ledger = asking
    context = submit_context(process)
    with opened_registry(process, ledger) as registry:
        resolved = resolve(request_input, context, registry)
    draft = make_draft(resolved, request_input, context, now=datetime.now().astimezone())
    submit_job(ledger, draft)
    return str(draft.id)


def test_a_wakeup_too_many_leaves_a_failure_in_flower_a_failure(
    office: Office, asking: tuple[Process, Ledger]
):
    before = office.task("strict")

    _wake(asking, office.jobs["strict"])
    # Sent later and told later: what the first one had to tell is there by then.
    _wake(asking, unknown := str(uuid4()))
    wait_for(
        lambda: office.get(f"/api/task/info/{unknown}").text.find("nothing to do") > 0,
        what="the end of the second wake-up",
    )
    wait_for(
        lambda: office.task("strict")["timestamp"] > before["timestamp"],
        what="the end of the first wake-up",
    )

    after = office.task("strict")
    assert (after["state"], after["exception"]) == ("FAILURE", before["exception"])


def test_a_wakeup_that_draws_another_job_tells_the_end_under_that_jobs_id(
    office: Office, asking: tuple[Process, Ledger]
):
    before = office.task("strict")
    other = _submit_quietly(asking, office.folder, "mock")

    _wake(asking, office.jobs["strict"])

    def told() -> dict[str, Any]:
        answer = office.get(f"/api/task/info/{other}")
        return answer.json() if answer.status_code == 200 else {}

    wait_for(lambda: told().get("state") == "SUCCESS", what="the end of the other job")
    after = office.task("strict")
    assert (after["state"], after["exception"]) == ("FAILURE", before["exception"])


def test_a_retry_shows_in_flower(office: Office):
    shown = office.task("flaky")

    assert shown["state"] == "SUCCESS"
    assert shown["retried"] is not None
    assert shown["retries"] == 1


def test_the_delivery_is_a_task_of_its_own_in_flower(office: Office):
    def delivered() -> list[Any]:
        tasks = office.get("/api/tasks?taskname=imagen.deliver").json()
        return [task for task in tasks.values() if "succeeded" in (task["result"] or "")]

    task = wait_for(delivered, what="a delivery in Flower")[0]

    assert task["args"] == f"({HOST})"


def test_flower_knows_every_worker_and_its_queue(office: Office):
    def queues() -> dict[str, list[str]]:
        workers = office.get("/api/workers?refresh=1").json()
        return {
            name.partition("-")[0]: [queue["name"] for queue in facts.get("active_queues", [])]
            for name, facts in workers.items()
        }

    known = {"gpu": ["gpu"], "results": [f"results.{HOST}"]}
    assert wait_for(lambda: queues() == known, what="both workers' queues")


def test_flower_lets_nobody_in_without_the_password(office: Office):
    doors = ("/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers")

    anonymous = {path: office.get(path, login=None).status_code for path in doors}
    wrong = {path: office.get(path, login=(LOGIN[0], "guess")).status_code for path in doors}

    assert set(anonymous.values()) == {401}
    assert set(wrong.values()) == {401}


def test_flower_changes_nothing_unless_told_to(office: Office):
    worker = office.worker("gpu")

    answers = [
        office.post(f"/api/worker/shutdown/{worker}"),
        office.post(f"/api/task/revoke/{office.jobs['mock']}"),
        office.post("/api/task/send-task/imagen.generate"),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]


def test_flower_gives_away_neither_prompts_nor_secrets(office: Office):
    told = [
        office.get(path).text
        for path in (
            "/api/tasks",
            "/api/workers?refresh=1",
            "/metrics",
            "/broker",
            f"/worker/{office.worker('gpu')}",
            *(f"/api/task/info/{job_id}" for job_id in office.jobs.values()),
            *(f"/task/{job_id}" for job_id in office.jobs.values()),
        )
    ]

    assert [secret for secret in SECRETS if any(secret in text for text in told)] == []
    assert all(job_id in told[0] for job_id in office.jobs.values())


def test_flowers_page_lists_the_tasks_in_a_browser(office: Office):
    document = office.page("/tasks", until="FAILURE")

    assert "mock 64x64 a-red-fox-in-fresh-snow" in document
    assert office.jobs["mock"] in document
    assert [secret for secret in SECRETS if secret in document] == []


def test_flowers_page_of_a_task_tells_what_was_asked_in_a_browser(office: Office):
    document = office.page(f"/task/{office.jobs['strict']}", until="BackendRejected")

    assert "strict 64x64 a-red-fox-in-fresh-snow" in document
    assert [secret for secret in SECRETS if secret in document] == []


@pytest.mark.parametrize("login", ["", "watcher", "watcher:", ":secret", "watcher:se,cret"])
def test_flower_does_not_start_without_a_password(tmp_path: Path, login: str):
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.monitor", "flower", "--port=0"],
        env=_environment(tmp_path, "redis://127.0.0.1:1/0") | {"FLOWER_BASIC_AUTH": login},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("imagen: Flower does not start without a password")
    assert "secret" not in done.stderr
