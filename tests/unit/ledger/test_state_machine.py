"""Any order of claims, crashes, cancels and late writers: no job is held twice, lost or stuck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import select, update

from imagen.domain.job import AttemptDisposition, AttemptState, Claim, JobState
from imagen.domain.scope import Scope
from imagen.errors import LeaseLost
from imagen.ledger.jobs import delivery, fenced_writes
from imagen.ledger.jobs.artifacts import drop_files, forget_artifacts, obsolete_keys
from imagen.ledger.jobs.cancel_and_retry import request_cancel, retry_jobs
from imagen.ledger.jobs.fenced_writes import Ending
from imagen.ledger.jobs.leases import end_canceled, renew_leases, take_back
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus

MAX_CRASHES = 3
OWNERS = st.sampled_from(["one", "two", "three"])
WHICH = st.integers(0, 1000)
NO = Ending("backend_rejected", "no")
SETTINGS = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@dataclass
class Expected:
    """What a job must be now, kept without looking at the ledger."""

    state: str = "queued"
    holder: Claim | None = None
    is_expired: bool = False
    waits: bool = False
    is_canceled: bool = False
    crashes: int = 0
    fence: int = 0

    def release(self, state: str) -> None:
        self.state, self.holder, self.is_expired = state, None, False

    def is_held_by(self, owners: set[str]) -> bool:
        return self.holder is not None and self.holder.owner in owners


def _expect_written(is_written: bool) -> None:
    if not is_written:
        raise LeaseLost


class LedgerMachine(stateful.RuleBasedStateMachine):
    """Several claimants with a ledger; ``desk`` is set on a subclass made by the test."""

    desk: Any

    def __init__(self) -> None:
        super().__init__()
        self.desk.empty()
        self.ledger = self.desk.ledger
        self.jobs: dict[UUID, Expected] = {}
        self.claims: list[Claim] = []
        self.sent = 0

    # What users do.

    @rule()
    def submit(self) -> None:
        self.jobs[self.desk.submit()] = Expected()

    @precondition(lambda machine: machine.jobs)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        job_id, expected = list(self.jobs.items())[which % len(self.jobs)]
        is_sent = self._is_sent(job_id)
        told = request_cancel(self.ledger, Scope(job_ids=(job_id,)))
        if expected.state in ("succeeded", "failed", "canceled"):
            assert told == {}
            return
        expected.is_canceled, expected.waits = True, False
        if expected.state == "generated" or (expected.state == "queued" and not is_sent):
            expected.release("canceled")
        assert told == {job_id: JobState(expected.state)}

    @precondition(lambda machine: machine.jobs)
    @rule(which=WHICH)
    def retry(self, which: int) -> None:
        job_id, expected = list(self.jobs.items())[which % len(self.jobs)]
        told = retry_jobs(self.ledger, Scope(job_ids=(job_id,)))
        if expected.state not in ("failed", "canceled"):
            assert told == {}
            return
        # Whether it resumes at the delivery hangs on an artifact that a sweep may have taken.
        assert told[job_id] in (JobState.QUEUED, JobState.GENERATED)
        expected.release(told[job_id].value)
        expected.waits = expected.is_canceled = False
        expected.crashes = 0

    # What workers do.

    @rule(owner=OWNERS)
    def claim(self, owner: str) -> None:
        claim = self.desk.claim(owner)
        could = [each for each in self.jobs.values() if each.state == "queued" and not each.waits]
        if claim is None:
            assert not could
            return
        expected = self.jobs[claim.job.id]
        assert expected in could
        assert expected.holder is None
        expected.state, expected.holder = "running", claim
        self.claims.append(claim)

    @rule(owner=OWNERS, limit=st.integers(1, 3))
    def claim_deliveries(self, owner: str, limit: int) -> None:
        claims = delivery.claim_deliveries(
            self.ledger, self.desk.claimant(owner), host="here", limit=limit
        )
        could = {
            job_id
            for job_id, each in self.jobs.items()
            if each.state == "generated"
            and not each.waits
            and (each.holder is None or each.is_expired)
        }
        assert {claim.job.id for claim in claims} <= could
        assert len(claims) == min(limit, len(could))
        for claim in claims:
            expected = self.jobs[claim.job.id]
            expected.holder, expected.is_expired = claim, False
            self.claims.append(claim)

    @rule(owner=OWNERS)
    def renew(self, owner: str) -> None:
        renewed = renew_leases(self.ledger, owner, lease_s=30)
        mine = {job_id for job_id, each in self.jobs.items() if each.is_held_by({owner})}
        assert set(renewed) == mine
        for job_id in mine:
            self.jobs[job_id].is_expired = False

    @rule(which=WHICH)
    def intend(self, which: int) -> None:
        self._write(
            which,
            "running",
            lambda claim: fenced_writes.record_intent(self.ledger, claim),
            needs_known_id=True,
        )

    @rule(which=WHICH)
    def send(self, which: int) -> None:
        self.sent += 1
        self._write(
            which,
            "running",
            lambda claim: fenced_writes.record_submitted(
                self.ledger, claim, f"paid-{self.sent}", place="shop"
            ),
            # The next holder needs the id, so it is kept even when the lease is lost.
            may_change="attempts",
            needs_known_id=True,
        )

    @rule(which=WHICH)
    def generate(self, which: int) -> None:
        def after(expected: Expected) -> None:
            expected.release("generated")

        # A canceled attempt of the writer's own becomes "late".
        self._write(which, "running", self.desk.generate, after, may_change="attempts")

    @rule(
        which=WHICH,
        disposition=st.sampled_from(AttemptDisposition),
        wait_s=st.sampled_from([0, 3600]),
    )
    def put_off(self, which: int, disposition: AttemptDisposition, wait_s: int) -> None:
        def after(expected: Expected) -> None:
            expected.release("queued")
            expected.waits = wait_s > 0

        self._write(
            which,
            "running",
            lambda claim: fenced_writes.record_retry(
                self.ledger, claim, NO, wait_s=wait_s, disposition=disposition
            ),
            after,
        )

    @rule(which=WHICH, state=st.sampled_from([AttemptState.FAILED, AttemptState.CANCELED]))
    def fail(self, which: int, state: AttemptState) -> None:
        self._write(
            which,
            "running",
            lambda claim: fenced_writes.record_failed(self.ledger, claim, Ending("x", "x", state)),
            lambda expected: expected.release(state.value),
        )

    @rule(which=WHICH)
    def give_back(self, which: int) -> None:
        self._write(
            which,
            "running",
            lambda claim: fenced_writes.give_back(self.ledger, claim),
            lambda expected: expected.release("queued"),
        )

    @rule(which=WHICH)
    def succeed(self, which: int) -> None:
        def write(claim: Claim) -> None:
            keys = [row.key for row in self.desk.artifact_rows() if row.job_id == claim.job.id]
            key = keys[0] if keys else "gone"
            done = delivery.Delivered(claim, "/out/fox.png", "0" * 64, key)
            _expect_written(*delivery.record_succeeded(self.ledger, [done]))
            drop_files(self.ledger, [key])

        self._write(which, "generated", write, lambda expected: expected.release("succeeded"))

    @rule(which=WHICH)
    def fail_delivery(self, which: int) -> None:
        def write(claim: Claim) -> None:
            _expect_written(
                delivery.record_delivery_failed(self.ledger, claim, code="x", message="no")
            )

        self._write(which, "generated", write, lambda expected: expected.release("failed"))

    @rule(which=WHICH)
    def draw_again(self, which: int) -> None:
        self._write(
            which,
            "generated",
            lambda claim: _expect_written(delivery.draw_again(self.ledger, claim)),
            lambda expected: expected.release("queued"),
        )

    # What happens without a call of theirs.

    @rule(which=WHICH)
    def expire(self, which: int) -> None:
        leased = [job_id for job_id, each in self.jobs.items() if each.holder]
        if leased:
            job_id = leased[which % len(leased)]
            self.desk.expire(job_id)
            self.jobs[job_id].is_expired = True

    @rule(dead=st.sets(OWNERS, max_size=1))
    def reconcile(self, dead: set[str]) -> None:
        taken = take_back(self.ledger, max_crashes=MAX_CRASHES, dead=dead)
        overdue = [each for each in self.jobs.values() if each.is_expired or each.is_held_by(dead)]
        assert taken == len(overdue)
        for expected in overdue:
            if expected.state == "generated":
                expected.release("generated")
                continue
            expected.crashes += 1
            expected.waits = False
            expected.release("failed" if expected.crashes >= MAX_CRASHES else "queued")

    @rule()
    def end_what_was_canceled(self) -> None:
        ends = [
            each
            for job_id, each in self.jobs.items()
            if each.state == "queued" and each.is_canceled and not self._is_sent(job_id)
        ]
        assert end_canceled(self.ledger) == len(ends)
        for expected in ends:
            expected.release("canceled")

    @rule()
    def time_passes(self) -> None:
        with self.ledger.write(durable=False) as connection:
            connection.execute(
                update(jobs).where(jobs.c.not_before.is_not(None)).values(not_before=now_plus(-1))
            )
        for expected in self.jobs.values():
            expected.waits = False

    @rule()
    def sweep(self) -> None:
        keys = obsolete_keys(self.ledger)
        with self.ledger.write(durable=False) as connection:
            forget_artifacts(connection, keys)
        drop_files(self.ledger, keys)

    # What must always hold.

    @invariant()
    def the_ledger_is_as_expected(self) -> None:
        with self.ledger.read() as connection:
            rows = connection.execute(select(jobs)).all()
            tries = connection.execute(select(attempts)).all()
        for row in rows:
            expected = self.jobs[row.id]
            assert row.state == expected.state
            assert row.lease_owner == (expected.holder.owner if expected.holder else None)
            assert row.crash_count == expected.crashes
            assert row.fence >= expected.fence
            expected.fence = row.fence
            if expected.holder is not None:
                assert row.fence == expected.holder.job.fence
            mine = [each for each in tries if each.job_id == row.id]
            assert sorted(each.number for each in mine) == list(range(1, row.attempt_count + 1))
            still_open = [each for each in mine if each.finished_at is None]
            assert len(still_open) <= 1
            assert all(each.id == row.attempt_id for each in still_open)
        assert len(rows) == len(self.jobs)

    def teardown(self) -> None:
        """One last claimant can bring every unfinished job to an end."""
        for _ in range(MAX_CRASHES + 2):
            for job_id, each in self.jobs.items():
                if each.holder:
                    self.desk.expire(job_id)
                    each.is_expired = True
            self.reconcile(set())
            self.time_passes()
            self.end_what_was_canceled()
            while (claim := self.desk.claim("last")) is not None:
                self.jobs[claim.job.id].state = "running"
                self.jobs[claim.job.id].holder = claim
                self.desk.generate(claim)
                self.jobs[claim.job.id].release("generated")
            for claim in delivery.claim_deliveries(
                self.ledger, self.desk.claimant("last"), host="here"
            ):
                self.claims = [claim]
                self.jobs[claim.job.id].holder = claim
                self.succeed(0)
        assert all(each.state in ("succeeded", "failed", "canceled") for each in self.jobs.values())
        self.the_ledger_is_as_expected()
        self.sweep()
        failed = {job_id for job_id, each in self.jobs.items() if each.state == "failed"}
        assert {row.job_id for row in self.desk.artifact_rows()} <= failed

    # How a write is checked.

    def _write(
        self,
        which: int,
        state: str,
        write: Callable[[Claim], object],
        after: Callable[[Expected], None] = lambda _: None,
        *,
        may_change: str = "",
        needs_known_id: bool = False,
    ) -> None:
        if not self.claims:
            return
        claim = self.claims[which % len(self.claims)]
        expected = self.jobs[claim.job.id]
        if expected.holder is claim and expected.state == state:
            try:
                write(claim)
            except LeaseLost:
                # Only where another holder's id of the same attempt is known already.
                assert needs_known_id
                assert self.desk.attempts(claim.job.id)[-1].external_id is not None
            else:
                after(expected)
            return
        before = self.desk.snapshot()
        try:
            write(claim)
        except LeaseLost:
            after_it = self.desk.snapshot()
            before.pop(may_change, None)
            after_it.pop(may_change, None)
            assert after_it == before
        else:
            raise AssertionError(f"{claim.owner} wrote without holding the job")

    def _is_sent(self, job_id: UUID) -> bool:
        attempt_id = self.desk.row(job_id).attempt_id
        return any(
            attempt.id == attempt_id
            and attempt.state in (AttemptState.INTENDED, AttemptState.SUBMITTED)
            for attempt in self.desk.attempts(job_id)
        )


def test_no_order_of_events_loses_doubles_or_strands_a_job(desk: Any) -> None:
    class AtThisDesk(LedgerMachine):
        pass

    AtThisDesk.desk = desk

    stateful.run_state_machine_as_test(AtThisDesk, settings=SETTINGS)
