"""A paid call is sent only by who certainly still holds its job."""

from __future__ import annotations

import pytest

from imagen.domain.job import AttemptState
from imagen.errors import LeaseLost
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.queries.jobs import attempts_of
from imagen.services.draw.ledger_run import LedgerRun
from imagen.services.leases.heartbeat import Heartbeat

LEASE_S = 30.0


@pytest.fixture
def held_run(make_environment, clock):
    """A job that this process holds, as its backend sees it, and the clock it goes by."""
    environment = make_environment()
    ledger = environment.ledger
    environment.submit(["a fox"])
    heartbeat = Heartbeat(ledger, "me", LEASE_S, LEASE_S / 3, clock)
    claim = claim_job(ledger, Claimant("me", ["gpu"], LEASE_S))
    with heartbeat.holding([claim], claimed_at_s=clock.boottime_s()) as [lease]:
        yield (
            LedgerRun(ledger, lease, heartbeat, environment.publisher, clock),
            clock,
            ledger,
        )


def test_a_call_is_announced_before_it_is_sent(held_run):
    run, _, ledger = held_run

    run.intend(timeout_s=10)

    [attempt] = attempts_of(ledger, run.lease.claim.job.id)
    assert attempt.state is AttemptState.INTENDED


def test_a_process_that_stood_still_while_it_announced_a_call_does_not_send_it(
    held_run, monkeypatch
):
    run, clock, _ = held_run
    from imagen.services.draw import ledger_run as module

    commit = module.record_intent

    def slow_commit(*args, **kwargs):
        commit(*args, **kwargs)
        clock.sleep(LEASE_S)

    monkeypatch.setattr(module, "record_intent", slow_commit)

    with pytest.raises(LeaseLost):
        run.intend(timeout_s=10)


def test_a_lease_that_is_nearly_over_is_renewed_before_a_call(held_run):
    run, clock, _ = held_run
    clock.sleep(LEASE_S - 1)

    run.intend(timeout_s=10)

    assert run.lease_left_s() == LEASE_S
