"""Questions about jobs that people and waiting commands ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from imagen.domain.job import AttemptDisposition, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import RequestError
from imagen.ledger.jobs.fenced_writes import (
    Ending,
    record_failed,
    record_retry,
    record_submitted,
)
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.jobs.submit import open_batch
from imagen.ledger.jobs.worker_rows import (
    forget_workers,
    live_workers,
    report_worker,
    sign_off_worker,
)
from imagen.ledger.queries.batches import batch_names, find_batch
from imagen.ledger.queries.history import AttemptHistory
from imagen.ledger.queries.jobs import (
    Filter,
    attempts_of,
    count_states,
    find_job,
    get_job,
    jobs_in,
    list_jobs,
)
from imagen.ledger.queries.unfinished_jobs import has_unfinished, next_due_s
from imagen.ledger.queries.waiting_jobs import count_waiting, crashed_waiting


def test_a_job_comes_back_as_it_was_submitted(desk: Any) -> None:
    request = desk.request(
        prompt="🦊",
        styled_prompt="styled 🦊",
        negative="x",
        steps=3,
        seed=2**63 - 1,
        options={"a": "b"},
        style="s",
        format="webp",
    )
    draft = desk.draft(request=request, affinity="dev", dedupe_key="k", owner_user_id="u")
    from imagen.ledger.jobs.submit import submit_job

    submit_job(desk.ledger, draft)

    job = desk.job(draft.id)
    assert (job.request, job.output, job.lane) == (request, draft.output, draft.lane)
    assert (job.affinity, job.dedupe_key, job.owner_user_id) == ("dev", "k", "u")
    assert abs(datetime.now(UTC) - job.created_at) < timedelta(hours=1)
    assert job.created_at.tzinfo is not None


def test_an_unknown_job_is_nothing(desk: Any) -> None:
    assert get_job(desk.ledger, uuid7()) is None


def test_a_job_is_found_by_the_beginning_of_its_id(desk: Any) -> None:
    job_id = desk.submit()

    for prefix in (str(job_id), job_id.hex, job_id.hex.upper(), str(job_id)[:30], f" {job_id} "):
        assert find_job(desk.ledger, prefix).id == job_id


def test_an_id_that_several_jobs_begin_with_asks_for_more(desk: Any) -> None:
    job_id = desk.submit()
    desk.submit()

    with pytest.raises(RequestError, match="several jobs begin with"):
        find_job(desk.ledger, job_id.hex[:6])


@pytest.mark.parametrize("prefix", ["", "abc", "zzzz", "%%%%", "0" * 33, "' OR 1=1 --", "-" * 8])
def test_what_is_no_id_is_refused(desk: Any, prefix: str) -> None:
    desk.submit()

    with pytest.raises(RequestError, match="is not a job id"):
        find_job(desk.ledger, prefix)


def test_an_id_that_no_job_begins_with_says_so(desk: Any) -> None:
    desk.submit()

    with pytest.raises(RequestError, match="no job begins with 'ffff'"):
        find_job(desk.ledger, "ffff")


def test_jobs_are_listed_newest_first(desk: Any) -> None:
    ids = [desk.submit() for _ in range(5)]

    assert [job.id for job in list_jobs(desk.ledger, Filter(), limit=3)] == ids[:1:-1]


def test_lists_are_narrowed_by_what_is_asked(desk: Any) -> None:
    batch = open_batch(desk.ledger, "the key", name="the name")
    plain = desk.submit()
    other = desk.submit(backend="other")
    row = desk.submit(batch_id=batch.id, dedupe_key="k")
    desk.set(plain, state="failed")
    old = desk.submit()
    desk.shift(old, "created_at", -86_400)

    def found(**asked: Any) -> set[Any]:
        return {job.id for job in list_jobs(desk.ledger, Filter(**asked))}

    assert found(states=(JobState.FAILED,)) == {plain}
    assert found(backend="other") == {other}
    assert found(batch="the key") == found(batch="the name") == {row}
    assert found(batch="nobody") == set()
    assert found(since=datetime.now(UTC) - timedelta(hours=1)) == {plain, other, row}


def test_states_are_counted_within_a_scope(desk: Any) -> None:
    one, two = desk.submit(), desk.submit()
    desk.submit()
    desk.set(two, state="succeeded")

    counted = count_states(desk.ledger, Scope(job_ids=(one, two)))

    assert counted == {JobState.QUEUED: 1, JobState.SUCCEEDED: 1}


def test_a_scope_is_finished_when_nothing_of_it_is_on_its_way(desk: Any) -> None:
    job_id = desk.submit()
    scope = Scope(job_ids=(job_id,))
    assert has_unfinished(desk.ledger, scope)

    for state in ("succeeded", "failed", "canceled"):
        desk.set(job_id, state=state)
        assert not has_unfinished(desk.ledger, scope)


def test_a_scope_may_be_of_one_host_only(desk: Any) -> None:
    here = desk.submit()
    desk.submit(delivery_host="elsewhere")

    assert desk.must_claim(scope=Scope(delivery_host="here")).job.id == here
    assert desk.claim(scope=Scope(delivery_host="here")) is None


def test_jobs_are_handed_out_in_order_whatever_their_number(sqlite_desk: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(250)]

    found = jobs_in(sqlite_desk.ledger, EVERYTHING, states=[JobState.QUEUED])

    assert [job.id for job in found] == ids


def test_the_next_due_job_is_the_one_that_waits_least(desk: Any) -> None:
    assert next_due_s(desk.ledger, EVERYTHING) is None
    for wait_s in (3600, 60):
        desk.submit()
        claim = desk.must_claim()
        record_retry(
            desk.ledger, claim, Ending("x", "x"), wait_s=wait_s, disposition=AttemptDisposition.END
        )

    due_s = next_due_s(desk.ledger, EVERYTHING)

    assert due_s is not None
    assert 0 < due_s <= 60


def test_a_job_that_is_due_already_waits_for_something_else(desk: Any) -> None:
    job_id = desk.submit()
    record_retry(
        desk.ledger,
        desk.must_claim(),
        Ending("x", "x"),
        wait_s=60,
        disposition=AttemptDisposition.END,
    )
    desk.shift(job_id, "not_before", -3600)

    assert next_due_s(desk.ledger, EVERYTHING) is None


def test_what_waits_is_counted_without_what_is_paused_or_put_off(desk: Any) -> None:
    desk.submit()
    desk.submit()
    desk.submit(backend="other")
    pause_backend(desk.ledger, "other", reason="x", pause_s=None)

    assert count_waiting(desk.ledger, "gpu", most=10) == 2
    assert count_waiting(desk.ledger, "gpu", most=1) == 1
    assert count_waiting(desk.ledger, "cloud", most=10) == 0


def test_a_crashed_job_is_seen_only_by_whom_it_concerns(desk: Any) -> None:
    crashed = desk.submit()
    desk.set(crashed, alone_since=datetime.now(UTC))
    sound = desk.submit()

    assert not crashed_waiting(desk.ledger, ["gpu"], left_out=("mock",))
    assert crashed_waiting(desk.ledger, ["gpu"])
    assert not crashed_waiting(desk.ledger, ["cloud"])
    assert crashed_waiting(desk.ledger, ["gpu"], Scope(job_ids=(crashed,)))
    assert not crashed_waiting(desk.ledger, ["gpu"], Scope(job_ids=(sound,)))


def test_attempts_are_told_in_their_order(desk: Any) -> None:
    job_id = desk.submit()
    for _ in range(3):
        record_retry(
            desk.ledger,
            desk.must_claim(),
            Ending("x", "y"),
            wait_s=0,
            disposition=AttemptDisposition.END,
        )

    found = attempts_of(desk.ledger, job_id)

    assert [(each.number, each.error_code) for each in found] == [(1, "x"), (2, "x"), (3, "x")]


def test_a_batch_is_found_by_its_name_or_key(desk: Any) -> None:
    batch = open_batch(desk.ledger, "/a/prompts.txt", name="prompts")

    assert find_batch(desk.ledger, "prompts").id == batch.id
    assert find_batch(desk.ledger, "/a/prompts.txt").id == batch.id
    with pytest.raises(RequestError, match="no batch is called 'gone'"):
        find_batch(desk.ledger, "gone")


def test_two_batches_of_one_name_are_told_apart_by_their_keys(desk: Any) -> None:
    open_batch(desk.ledger, "/a/prompts.txt", name="prompts")
    second = open_batch(desk.ledger, "/b/prompts.txt", name="prompts")

    with pytest.raises(RequestError, match="2 batches") as caught:
        find_batch(desk.ledger, "prompts")

    assert "/a/prompts.txt" in caught.value.hint
    assert find_batch(desk.ledger, "/b/prompts.txt").id == second.id
    assert batch_names(desk.ledger) == ["prompts"]


def test_each_run_of_a_batch_has_the_next_number(desk: Any) -> None:
    runs = [open_batch(desk.ledger, "key", name="name") for _ in range(3)]

    assert [run.run for run in runs] == [1, 2, 3]
    assert len({run.id for run in runs}) == 1


def test_the_usual_duration_is_the_median_of_the_last_few(desk: Any) -> None:
    history = AttemptHistory(desk.ledger)
    assert history.expected_s("mock") is None
    for _ in range(3):
        desk.submit()
        desk.generate(desk.must_claim())

    assert history.expected_s("mock") == 0.012
    assert history.expected_s("other") is None


def test_ids_that_an_attempt_has_are_owned(desk: Any) -> None:
    desk.submit()
    record_submitted(desk.ledger, desk.must_claim(), "paid-1", place="shop")
    history = AttemptHistory(desk.ledger)

    assert history.owned("shop", ("paid-1", "paid-2")) == {"paid-1"}
    assert history.owned("another", ("paid-1",)) == frozenset()
    assert history.owned("shop", ()) == frozenset()


def test_a_failed_attempt_keeps_its_id_for_ever(desk: Any) -> None:
    desk.submit()
    claim = desk.must_claim()
    record_submitted(desk.ledger, claim, "paid-1", place="shop")
    record_failed(desk.ledger, claim, Ending("x", "x"))

    assert AttemptHistory(desk.ledger).owned("shop", ("paid-1",)) == {"paid-1"}


def test_a_worker_is_there_until_it_signs_off_or_falls_silent(desk: Any) -> None:
    for owner in ("one", "two"):
        report_worker(
            desk.ledger, owner, host="h", role="gpu", queues=["gpu"], backends=["mock"], model="m"
        )
    report_worker(desk.ledger, "one", host="h", role="gpu", queues=["gpu"], backends=["a", "b"])

    [one, two] = live_workers(desk.ledger, within_s=60)
    assert (one.backends, one.model, two.model) == (("a", "b"), None, "m")
    assert 0 <= one.seen_s < 60

    sign_off_worker(desk.ledger, "one")
    sign_off_worker(desk.ledger, "one")
    assert [worker.owner for worker in live_workers(desk.ledger, within_s=60)] == ["two"]
    assert live_workers(desk.ledger, within_s=-1) == []
    forget_workers(desk.ledger, unseen_s=-1)
    assert live_workers(desk.ledger, within_s=60) == []
