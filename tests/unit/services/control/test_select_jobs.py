"""Which jobs are meant, and which host may go on with them."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.scope import Scope
from imagen.errors import RequestError
from imagen.ledger.jobs.submit import open_batch
from imagen.services.control.select_jobs import JobSelector, select_jobs


def test_named_jobs_come_once_each_in_the_order_of_their_names(sqlite_desk: Any) -> None:
    first, second = sqlite_desk.submit(), sqlite_desk.submit()
    selector = JobSelector((str(second), str(first), str(second)[:30]))

    selected = select_jobs(sqlite_desk.ledger, selector)

    assert [job.id for job in selected.named] == [second, first]
    assert selected.scope == Scope(job_ids=(second, first))


def test_a_batch_and_all_jobs_are_scopes_of_the_host(sqlite_desk: Any) -> None:
    batch = open_batch(sqlite_desk.ledger, "key", name="prompts")

    of_batch = select_jobs(sqlite_desk.ledger, JobSelector(batch="prompts"), host="here")
    every = select_jobs(sqlite_desk.ledger, JobSelector(every=True))

    assert of_batch.scope == Scope(batch_id=batch.id, delivery_host="here")
    assert every.scope == Scope()
    assert of_batch.named == every.named == ()


@pytest.mark.parametrize(
    "selector", [JobSelector(), JobSelector(("0123",), "b"), JobSelector(batch="b", every=True)]
)
def test_jobs_are_named_in_exactly_one_way(sqlite_desk: Any, selector: JobSelector) -> None:
    with pytest.raises(RequestError, match="by id, by batch, or all"):
        select_jobs(sqlite_desk.ledger, selector)


def test_an_unfinished_job_of_another_host_is_refused_and_one_that_ended_is_not(
    sqlite_desk: Any,
) -> None:
    job_id = sqlite_desk.submit(delivery_host="attic")
    selector = JobSelector((str(job_id),))

    with pytest.raises(RequestError, match="delivered on host 'attic'"):
        select_jobs(sqlite_desk.ledger, selector, host="here")
    sqlite_desk.set(job_id, state="failed")

    assert select_jobs(sqlite_desk.ledger, selector, host="here").named[0].id == job_id


def test_an_unknown_batch_is_refused(sqlite_desk: Any) -> None:
    with pytest.raises(RequestError, match="no batch is called"):
        select_jobs(sqlite_desk.ledger, JobSelector(batch="nope"))
