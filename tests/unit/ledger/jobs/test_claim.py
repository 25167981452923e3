"""Which waiting job a worker gets, and that it is the only one to get it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from uuid_utils.compat import uuid7

from imagen.domain.job import AttemptDisposition, AttemptState, JobState, Lane
from imagen.domain.scope import Scope
from imagen.ledger.jobs.claim import claim_job
from imagen.ledger.jobs.claim_order import MAX_PASSED_OVER, MAX_PASSED_OVER_S
from imagen.ledger.jobs.fenced_writes import Ending, record_retry
from imagen.ledger.jobs.pauses import pause_backend, paused_backends, resume_backends
from imagen.ledger.jobs.submit import open_batch


def test_a_claim_leases_the_job_and_opens_its_first_attempt(desk: Any) -> None:
    job_id = desk.submit()

    claim = desk.must_claim("one")

    row = desk.row(job_id)
    assert (row.state, row.lease_owner, row.fence) == ("running", "one", 1)
    assert row.lease_expires_at is not None
    assert row.started_at is not None
    assert claim.attempt.id == row.attempt_id
    assert not claim.resumed
    [attempt] = desk.attempts(job_id)
    assert (attempt.number, attempt.state, attempt.worker) == (1, AttemptState.STARTED, "one")


def test_nobody_else_gets_a_job_that_is_held(desk: Any) -> None:
    desk.submit()
    desk.must_claim("one")

    assert desk.claim("two") is None


def test_an_expired_lease_alone_does_not_hand_a_job_over(desk: Any) -> None:
    job_id = desk.submit()
    desk.must_claim("one")
    desk.expire(job_id)

    assert desk.claim("two") is None


def test_the_oldest_job_goes_first(desk: Any) -> None:
    submitted = [desk.submit() for _ in range(3)]

    assert [desk.must_claim().job.id for _ in range(3)] == submitted


def test_every_interactive_job_goes_before_any_bulk_one(desk: Any) -> None:
    bulk = desk.submit(lane=Lane.BULK)
    interactive = desk.submit(lane=Lane.INTERACTIVE)

    assert [desk.must_claim().job.id for _ in range(2)] == [interactive, bulk]


def test_a_worker_gets_jobs_of_its_own_queues_only(desk: Any) -> None:
    desk.submit(queue="cloud")

    assert desk.claim(queues=["gpu"]) is None
    assert desk.claim(queues=["gpu", "cloud"]) is not None


def test_over_several_queues_the_lane_goes_first_and_then_age(desk: Any) -> None:
    bulk = [desk.submit(queue=queue, lane=Lane.BULK) for queue in ("gpu", "cloud", "gpu.big")]
    interactive = [desk.submit(queue=queue) for queue in ("gpu.big", "gpu", "cloud")]
    queues = ["cloud", "gpu", "gpu.big"]

    claimed = [desk.must_claim(queues=queues).job.id for _ in range(6)]

    assert claimed == interactive + bulk
    assert desk.claim(queues=queues) is None


def test_a_worker_gets_jobs_of_its_own_backends_only(desk: Any) -> None:
    desk.submit(backend="mock")

    assert desk.claim(backends=["other"]) is None
    assert desk.claim(backends=[]) is None
    assert desk.claim(backends=["other", "mock"], left_out=("mock",)) is None
    assert desk.claim(backends=["other", "mock"]) is not None


def test_a_job_is_not_claimed_before_its_time(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    record_retry(
        desk.ledger, claim, Ending("x", "x"), wait_s=60, disposition=AttemptDisposition.END
    )

    assert desk.claim() is None

    desk.shift(job_id, "not_before", -61)
    assert desk.must_claim().attempt.number == 2


def test_a_job_whose_wait_is_over_takes_its_turn_by_age(desk: Any) -> None:
    first, second, third = (desk.submit() for _ in range(3))
    for job_id, waits_s in ((first, -1), (third, -2)):
        desk.set(job_id, not_before=datetime.now(UTC) + timedelta(seconds=waits_s))

    assert [desk.must_claim().job.id for _ in range(3)] == [first, second, third]


def test_the_loaded_model_is_preferred_among_jobs_whose_wait_is_over_too(desk: Any) -> None:
    waited = datetime.now(UTC) - timedelta(seconds=1)
    other = desk.submit(affinity="dev")
    loaded = desk.submit(affinity="schnell")
    for job_id in (other, loaded):
        desk.set(job_id, not_before=waited)

    assert desk.must_claim(model="schnell").job.id == loaded
    assert desk.row(other).passed_over == 1


def test_a_paused_backend_is_left_alone_until_the_pause_ends(desk: Any) -> None:
    desk.submit()
    pause_backend(desk.ledger, "mock", reason="no credit", pause_s=60)

    assert desk.claim() is None
    assert paused_backends(desk.ledger) == {"mock": "no credit"}

    pause_backend(desk.ledger, "mock", reason="over", pause_s=-1)
    assert paused_backends(desk.ledger) == {}
    assert desk.claim() is not None


def test_a_pause_by_hand_lasts_until_it_is_lifted(desk: Any) -> None:
    desk.submit()
    pause_backend(desk.ledger, "mock", reason="by hand", pause_s=None)

    assert desk.claim() is None
    assert resume_backends(desk.ledger, "mock")
    assert not resume_backends(desk.ledger, "mock")
    assert desk.claim() is not None


def test_a_pause_of_one_backend_stops_no_other(desk: Any) -> None:
    desk.submit(backend="mock")
    other = desk.submit(backend="other")
    pause_backend(desk.ledger, "mock", reason="no credit", pause_s=None)

    assert desk.must_claim().job.id == other


def test_a_command_claims_the_jobs_it_named_and_no_others(desk: Any) -> None:
    desk.submit()
    named = desk.submit()
    scope = Scope(job_ids=(named,))

    assert desk.must_claim(scope=scope).job.id == named
    assert desk.claim(scope=scope) is None
    assert desk.claim(scope=Scope(job_ids=())) is None


def test_a_run_of_a_batch_claims_what_it_or_a_later_run_named(desk: Any) -> None:
    batch = open_batch(desk.ledger, "prompts", name="prompts")
    desk.submit(batch_id=batch.id, run=1, dedupe_key="taken out of the file")
    second = desk.submit(batch_id=batch.id, run=2, dedupe_key="second")
    third = desk.submit(batch_id=batch.id, run=3, dedupe_key="third")
    desk.submit()
    scope = Scope(batch_id=batch.id, run=2)

    assert [desk.must_claim(scope=scope).job.id for _ in range(2)] == [second, third]
    assert desk.claim(scope=scope) is None


def test_jobs_that_run_alone_can_be_asked_for_or_left_out(desk: Any) -> None:
    crashed = desk.submit()
    desk.crash(desk.must_claim())
    desk.crash(desk.must_claim())
    sound = desk.submit()

    assert claim_job(desk.ledger, desk.claimant(), crashed=False).job.id == sound
    assert claim_job(desk.ledger, desk.claimant(), crashed=False) is None
    assert claim_job(desk.ledger, desk.claimant(), crashed=True).job.id == crashed


def test_a_recovered_job_goes_before_those_that_came_after_it(desk: Any) -> None:
    first = desk.submit()
    desk.submit()
    desk.crash(desk.must_claim())

    assert desk.must_claim().job.id == first


def test_the_loaded_model_is_preferred(desk: Any) -> None:
    desk.submit(affinity="dev")
    schnell = desk.submit(affinity="schnell")

    assert desk.must_claim(model="schnell").job.id == schnell


def test_without_a_job_for_the_loaded_model_the_oldest_is_drawn(desk: Any) -> None:
    oldest = desk.submit(affinity="dev")

    assert desk.must_claim(model="schnell").job.id == oldest


def test_a_job_that_needs_no_model_is_never_passed_over(desk: Any) -> None:
    plain = desk.submit(affinity=None)
    desk.submit(affinity="schnell")

    assert desk.must_claim(model="schnell").job.id == plain


def test_a_bulk_job_with_the_loaded_model_does_not_pass_an_interactive_one(desk: Any) -> None:
    desk.submit(affinity="schnell", lane=Lane.BULK)
    interactive = desk.submit(affinity="dev")

    assert desk.must_claim(model="schnell").job.id == interactive


def test_a_job_is_passed_over_sixteen_times_and_not_once_more(desk: Any) -> None:
    waiting = desk.submit(affinity="dev")
    for _ in range(MAX_PASSED_OVER + 1):
        desk.submit(affinity="schnell")

    claimed = [desk.must_claim(model="schnell").job.id for _ in range(MAX_PASSED_OVER + 1)]

    assert claimed.index(waiting) == MAX_PASSED_OVER


def test_a_job_is_passed_over_for_five_minutes_at_most(desk: Any) -> None:
    waiting = desk.submit(affinity="dev")
    for _ in range(2):
        desk.submit(affinity="schnell")
    desk.must_claim(model="schnell")
    desk.shift(waiting, "passed_over_since", -MAX_PASSED_OVER_S - 1)

    assert desk.must_claim(model="schnell").job.id == waiting


def test_a_job_that_was_never_passed_over_is_not_fed_up_however_old(desk: Any) -> None:
    old = desk.submit(affinity="dev")
    loaded = desk.submit(affinity="schnell")
    desk.shift(old, "created_at", -MAX_PASSED_OVER_S - 1)

    assert desk.must_claim(model="schnell").job.id == loaded


def test_being_passed_over_gives_the_loaded_model_no_paused_job(desk: Any) -> None:
    oldest = desk.submit(affinity="dev")
    desk.submit(affinity="schnell", backend="other")
    pause_backend(desk.ledger, "other", reason="no credit", pause_s=None)

    assert desk.must_claim(model="schnell").job.id == oldest


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.QUEUED])
def test_only_queued_jobs_are_claimed(desk: Any, state: JobState) -> None:
    job_id = desk.submit()
    desk.set(job_id, state=state.value, lease_owner="somebody", attempt_id=uuid7())

    assert desk.claim() is None


def test_a_claim_sends_no_time_of_this_host_to_the_database(desk: Any) -> None:
    """The database's clock decides: a host whose clock is wrong holds no longer and no shorter."""
    from datetime import date

    from imagen.domain.scope import EVERYTHING
    from imagen.ledger.jobs.cancel_and_retry import request_cancel, retry_jobs
    from imagen.ledger.jobs.delivery import claim_deliveries
    from imagen.ledger.jobs.leases import renew_leases, take_back
    from imagen.ledger.jobs.named_locks import take_lock
    from imagen.ledger.jobs.worker_rows import live_workers, report_worker

    sent: list[Any] = []

    def look(_c: Any, _cursor: Any, _statement: str, parameters: Any, *_: Any) -> None:
        sent.extend(parameters.values() if isinstance(parameters, dict) else parameters)

    event.listen(desk.ledger.engine, "before_cursor_execute", look)
    try:
        desk.submit()
        pause_backend(desk.ledger, "other", reason="no credit", pause_s=60)
        claim = desk.must_claim()
        renew_leases(desk.ledger, "one", lease_s=30)
        record_retry(
            desk.ledger, claim, Ending("x", "x"), wait_s=0, disposition=AttemptDisposition.REWIND
        )
        desk.generate(desk.must_claim())
        claim_deliveries(desk.ledger, desk.claimant(), host="here")
        take_back(desk.ledger, max_crashes=5)
        take_lock(desk.ledger, "reconcile", "one", lease_s=15)
        request_cancel(desk.ledger, EVERYTHING)
        retry_jobs(desk.ledger, EVERYTHING)
        report_worker(desk.ledger, "one", host="h", role="gpu", queues=[], backends=[])
        live_workers(desk.ledger, within_s=60)
    finally:
        event.remove(desk.ledger.engine, "before_cursor_execute", look)

    assert sent
    assert [value for value in sent if isinstance(value, (date, timedelta))] == []


def test_a_claim_leaves_out_the_jobs_of_hosts_that_it_is_not_to_draw_for(desk: Any) -> None:
    desk.submit(delivery_host="away")
    other = desk.submit(delivery_host="here")
    claimant = desk.claimant("one", scope=Scope(without_hosts=("away",)))

    claim = claim_job(desk.ledger, claimant)

    assert claim is not None
    assert claim.job.id == other
    assert claim_job(desk.ledger, claimant) is None
