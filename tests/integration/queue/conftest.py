"""An environment for each test, whose worker processes end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis

from imagen.domain.job import Job, JobState
from imagen.domain.scope import Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.queries.jobs import get_job
from imagen.services.draw.job_listener import JobListener
from imagen.services.submit.resolve import RequestInput, make_draft, resolve
from imagen.services.submit.wakeups import wakeup_for
from imagen.wiring.executors import queue_executor
from imagen.wiring.parts import held_lock, opened_registry, submit_context
from tests.processes.environment import Environment
from tests.waiting import wait_until


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class QueueEnvironment(Environment):
    """An environment with shortcuts for one job at a time."""

    def submit_one(self, prompt: str = "a fox", *, backend: str = "", wake: bool = True) -> UUID:
        """Accept one interactive job, as ``imagen generate`` does."""
        process = self.process()
        request = RequestInput(prompt=prompt, backend=backend, size="64x64")
        context = submit_context(process)
        with opened_registry(process, self.ledger) as registry:
            resolved = resolve(request, context, registry)
        draft = make_draft(resolved, request, context, now=datetime.now().astimezone())
        submit_job(self.ledger, draft)
        if wake:
            self.publisher.wake_workers(draft.queue, [wakeup_for(draft)])
        return draft.id

    def wait(self, scope: Scope, *, timeout_s: float, listener: JobListener | None = None) -> bool:
        """Wait for jobs while workers draw them, as a command does."""
        process = self.process()
        with (
            held_lock(process, outbox=self.ledger) as lock,
            queue_executor(process, self.ledger, lock, listener=listener) as executor,
        ):
            return executor.run(scope, timeout_s=timeout_s)

    def job(self, job_id: UUID) -> Job:
        job = get_job(self.ledger, job_id)
        assert job is not None
        return job

    def wait_for(self, job_id: UUID, *states: JobState, timeout_s: float = 30.0) -> Job:
        wait_until(
            lambda: self.job(job_id).state in states,
            what=f"the job is {' or '.join(states)}",
            timeout_s=timeout_s,
        )
        return self.job(job_id)

    def wait_until_succeeded(self, number: int, *, timeout_s: float = 60.0) -> None:
        """Block until there are so many jobs, all of them succeeded."""
        wait_until(
            lambda: self.states() == {JobState.SUCCEEDED: number},
            what=f"{number} jobs succeeded",
            timeout_s=timeout_s,
        )

    def count_fetched(self) -> int:
        """How many messages workers hold without having finished them."""
        with redis.Redis.from_url(self.redis_url) as client:
            return int(client.hlen("imagen:unacked"))

    def has_lost_ledger(self) -> bool:
        """Whether the connections of this process are of a database that is gone."""
        try:
            self.states()
        except LedgerUnavailable:
            return True
        return False


@pytest.fixture
def make_environment(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., QueueEnvironment]]:
    """Makes environments on the shared Redis and a SQLite ledger, unless told otherwise."""
    with ExitStack() as stack:

        def make(**settings: Any) -> QueueEnvironment:
            folder = tmp_path / f"environment-{len(list(tmp_path.iterdir()))}"
            settings.setdefault("redis_url", redis_url)
            return stack.enter_context(QueueEnvironment(folder, **settings))

        yield make


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
