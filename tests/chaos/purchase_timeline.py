"""What happened to one prediction and its job, in order of time: for the message of a breach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from imagen.ledger.store.tables import attempts, jobs
from tests.fakes.replicate import FakeReplicate
from tests.fakes.replicate.world import Made
from tests.processes.environment import Environment

#: A time in seconds since the epoch, and what was done to a worker then.
Act = tuple[float, str]

_AROUND_S = 10.0


def timeline_of(
    prediction_id: str, environment: Environment, fake: FakeReplicate, *, acts: Sequence[Act]
) -> str:
    """One line for each event of all jobs and predictions with the same input as this one.

    Of each prediction, by the provider: when it was asked for, created and listed. Of
    each attempt, by the ledger: its last intent, its id, its end. And ``acts`` around these.
    """
    inputs = fake.world.made[prediction_id].inputs
    moments: list[Act] = []
    for one in fake.world.made.values():
        if one.inputs == inputs:
            moments += _of_prediction(one)
    with environment.ledger.read() as connection:
        rows = connection.execute(
            select(attempts, jobs.c.request).join(jobs, jobs.c.id == attempts.c.job_id)
        ).all()
    for row in rows:
        if (row.request["prompt"], row.request["seed"]) == (inputs["prompt"], inputs["seed"]):
            moments += _of_attempt(row)
    begins_s, ends_s = min(moments)[0] - _AROUND_S, max(moments)[0] + _AROUND_S
    moments += [act for act in acts if begins_s < act[0] < ends_s]
    lines = [f"{at_s - begins_s:9.3f} s  {what}" for at_s, what in sorted(moments)]
    return "\n".join((f"prediction {prediction_id} and those with the same input:", *lines))


def _of_prediction(one: Made) -> Iterator[Act]:
    yield one.asked_at, f"prediction {one.id}: headers of its call read"
    yield one.read_at, f"prediction {one.id}: body of its call read"
    yield one.created_at, f"prediction {one.id}: created"
    yield one.visible_at, f"prediction {one.id}: listed"


def _of_attempt(row: Row[Any]) -> Iterator[Act]:
    about = f"attempt {row.id} of {row.worker}"
    told: tuple[tuple[datetime | None, str], ...] = (
        (row.created_at, "began"),
        (row.intended_at, "last intent"),
        (row.submitted_at, f"has {row.external_id}"),
        (row.finished_at, f"ended as {row.state}"),
    )
    for at, what in told:
        if at is not None:
            yield at.timestamp(), f"{about}: {what}"
