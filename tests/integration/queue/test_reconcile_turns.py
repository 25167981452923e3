"""Whose turn it is to look after everybody's jobs, and whom that must not hit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagen.domain.job import JobState
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.named_locks import lock_owner, take_lock
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger
from imagen.services.leases.process_lock import enter
from imagen.services.leases.reconcile import LOCK_NAME, Reconciler
from tests.processes.environment import ROOT
from tests.waiting import wait_until

_HOLD_A_LOCK_FILE = """
import sys
from pathlib import Path
from imagen.services.leases.process_lock import enter
presence = enter(Path(sys.argv[1]), sys.argv[2])
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ledger(tmp_path):
    ledger = open_ledger("", default_path=tmp_path / "ledger.db")
    upgrade(ledger)
    yield ledger
    ledger.close()


@pytest.fixture
def reconciler(ledger, clock, tmp_path):
    return Reconciler(ledger, "me", clock, 5, tmp_path / "owners", lease_s=30.0)


@pytest.fixture
def overdue_job(make_environment):
    """A job whose lease has run out although its holder may live."""
    environment = make_environment()
    environment.submit(["a fox"])
    ledger = environment.ledger
    claim = claim_job(ledger, Claimant("slow", ["gpu"], -1.0))
    return ledger, claim.job.id


def _another_process(folder: Path, owner: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD_A_LOCK_FILE, str(folder), owner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "here\n"
    return process


def test_the_turn_of_a_process_that_was_killed_is_taken_at_once(ledger, reconciler, tmp_path):
    folder = tmp_path / "owners"
    other = _another_process(folder, "other")
    try:
        take_lock(ledger, LOCK_NAME, "other", lease_s=3600)
        assert not reconciler.tick(), "it lives"

        other.send_signal(signal.SIGKILL)
        other.wait(20)

        assert reconciler.tick()
        assert lock_owner(ledger, LOCK_NAME) == "me"
    finally:
        other.kill()
        other.communicate()


def test_the_turn_of_another_host_is_waited_for(ledger, reconciler):
    take_lock(ledger, LOCK_NAME, "another-host:1:abcd", lease_s=3600)

    assert not reconciler.tick()


def test_the_turn_of_another_host_ends_well_before_a_lease_does(ledger, clock, tmp_path):
    one = Reconciler(ledger, "one", clock, 5, tmp_path / "one", lease_s=0.4)
    other = Reconciler(ledger, "other", clock, 5, tmp_path / "other", lease_s=0.4)
    assert one.tick()
    assert not other.tick()

    wait_until(other.tick, what="the other's turn has come", timeout_s=5)


def test_a_turn_that_is_given_up_is_free_at_once(ledger, clock, tmp_path):
    one = Reconciler(ledger, "one", clock, 5, tmp_path / "one")
    one.tick()

    one.leave()

    assert Reconciler(ledger, "other", clock, 5, tmp_path / "other").tick()


def test_an_overdue_lease_is_taken_back_at_the_first_look(overdue_job, clock, tmp_path):
    ledger, job_id = overdue_job

    Reconciler(ledger, "me", clock, 5, tmp_path / "owners").tick()

    assert get_job(ledger, job_id).crash_count == 1


def test_after_the_ledger_was_away_the_living_get_one_lease_to_be_heard_of(
    overdue_job, clock, tmp_path, monkeypatch
):
    ledger, job_id = overdue_job
    reconciler = Reconciler(ledger, "me", clock, 5, tmp_path / "owners", lease_s=30.0)

    def is_away(*_, **__):
        raise LedgerUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("imagen.services.leases.reconcile.take_lock", is_away)
        with pytest.raises(LedgerUnavailable):
            reconciler.tick()
    reconciler.tick()
    clock.sleep(29)
    reconciler.tick()

    assert get_job(ledger, job_id).state is JobState.RUNNING
    clock.sleep(2)
    reconciler.tick()
    assert get_job(ledger, job_id).crash_count == 1


def test_after_a_sleep_of_the_host_the_living_get_one_lease_to_be_heard_of(
    make_environment, clock, tmp_path
):
    environment = make_environment()
    ledger = environment.ledger
    reconciler = Reconciler(ledger, "me", clock, 5, tmp_path / "owners", lease_s=30.0)
    reconciler.tick()
    environment.submit(["a fox"])
    job_id = claim_job(ledger, Claimant("me", ["gpu"], -1.0)).job.id

    clock.sleep(3600)
    reconciler.tick()

    assert get_job(ledger, job_id).state is JobState.RUNNING


def test_the_dead_are_known_even_after_the_ledger_was_away(
    make_environment, clock, tmp_path, monkeypatch
):
    environment = make_environment()
    ledger = environment.ledger
    folder = tmp_path / "owners"
    environment.submit(["a fox"])
    presence = enter(folder, "dead")
    job_id = claim_job(ledger, Claimant("dead", ["gpu"], 3600.0)).job.id
    reconciler = Reconciler(ledger, "me", clock, 5, folder, lease_s=30.0)
    reconciler._was_away = True

    # A closed file is an unlocked one, as the kernel leaves it behind.
    os.close(presence.handle)
    reconciler.tick()

    assert get_job(ledger, job_id).crash_count == 1


def test_a_reconciler_that_looks_less_often_than_a_lease_lasts_takes_back_all_the_same(
    overdue_job, clock, tmp_path
):
    ledger, job_id = overdue_job
    reconciler = Reconciler(ledger, "me", clock, 5, tmp_path / "owners", lease_s=30.0)
    reconciler._looked_s = clock.boottime_s()

    for _ in range(3):
        clock.sleep(100)
        reconciler.tick()

    assert get_job(ledger, job_id).crash_count == 1


def test_the_dead_of_this_host_are_known_here_although_another_host_has_the_turn(
    make_environment, clock, tmp_path
):
    environment = make_environment()
    ledger = environment.ledger
    environment.submit(["a fox"])
    os.close(enter(tmp_path / "owners", "dead").handle)
    job_id = claim_job(ledger, Claimant("dead", ["gpu"], 3600.0)).job.id
    take_lock(ledger, LOCK_NAME, "another-host:1:abcd", lease_s=3600)

    assert not Reconciler(ledger, "me", clock, 5, tmp_path / "owners").tick()

    assert get_job(ledger, job_id).state is JobState.QUEUED
