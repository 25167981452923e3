"""A stage of one's own: configuration, ledger and worker processes that end with the test."""

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
from imagen.domain.scope import EVERYTHING
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.queries.jobs import count_states, get_job
from imagen.services.submit.resolve import RequestInput, make_draft, resolve
from imagen.services.submit.wakeups import wakeup_for
from tests.chaos.environment import Environment, wait_until


class ManualClock:
    """A clock that goes on by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class QueueEnvironment(Environment):
    """A stage with shortcuts for one job at a time."""

    def submit_one(self, prompt: str = "a fox", *, backend: str = "", wake: bool = True) -> UUID:
        """Accept one interactive job, as ``imagen generate`` does."""
        imagen = self.imagen()
        ask = RequestInput(prompt=prompt, backend=backend, size="64x64")
        resolved = resolve(ask, imagen.submit_context(), imagen.registry)
        draft = make_draft(resolved, ask, imagen.submit_context(), now=datetime.now().astimezone())
        submit_job(imagen.ledger, draft)
        if wake:
            imagen.queue_publisher.wake_workers(draft.queue, [wakeup_for(draft)])
        return draft.id

    def job(self, job_id: UUID) -> Job:
        job = get_job(self.imagen().ledger, job_id)
        assert job is not None
        return job

    def wait_for(self, job_id: UUID, *states: JobState, timeout_s: float = 30.0) -> Job:
        wait_until(
            lambda: self.job(job_id).state in states,
            what=f"the job is {' or '.join(states)}",
            timeout_s=timeout_s,
        )
        return self.job(job_id)

    def states(self) -> dict[JobState, int]:
        return count_states(self.imagen().ledger, EVERYTHING)

    def wait_for_all(self, number: int, *, timeout_s: float = 60.0) -> None:
        wait_until(
            lambda: self.states() == {JobState.SUCCEEDED: number},
            what=f"{number} jobs succeeded",
            timeout_s=timeout_s,
        )

    def messages(self, queue: str) -> int:
        with redis.Redis.from_url(self.redis_url) as client:
            return int(client.llen(f"imagen:{queue}"))

    def fetched(self) -> int:
        """How many messages workers hold without having finished them."""
        with redis.Redis.from_url(self.redis_url) as client:
            return int(client.hlen("imagen:unacked"))

    def knows_nothing(self) -> bool:
        """Whether our own connections are of a database that is gone."""
        try:
            self.states()
        except LedgerUnavailable:
            return True
        return False


@pytest.fixture
def make_environment(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., QueueEnvironment]]:
    """Makes stages on the run's Redis and a SQLite ledger, unless told otherwise."""
    with ExitStack() as stack:

        def make(**settings: Any) -> QueueEnvironment:
            folder = tmp_path / f"stage-{len(list(tmp_path.iterdir()))}"
            settings.setdefault("redis_url", redis_url)
            return stack.enter_context(QueueEnvironment(folder, **settings))

        yield make


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
