"""Drawing with a backend that is away, stuck, out of credit, or refuses the token."""

from __future__ import annotations

from typing import Any

from imagen import errors
from imagen.domain.job import JobState
from imagen.ledger.jobs.pauses import pause_backend, paused_backends, resume_backends


def test_an_empty_account_is_paused(studio: Any) -> None:
    studio.desk.submit()
    studio.backend.script = [errors.OutOfCredit("empty")]

    studio.draw()

    assert list(paused_backends(studio.desk.ledger)) == ["mock"]


def test_an_empty_account_pauses_every_backend_that_spends_from_it(
    sqlite_studio: Any, make_backend: Any
) -> None:
    sqlite_studio.backends.by_name |= {
        "mock": make_backend(free=False),
        "sibling": make_backend(free=False),
        "free": make_backend(),
    }
    sqlite_studio.backends.get("mock").script = [errors.OutOfCredit("empty")]
    sqlite_studio.desk.submit()

    sqlite_studio.draw()

    assert set(paused_backends(sqlite_studio.desk.ledger)) == {"mock", "sibling"}


def test_a_refused_token_pauses_its_account_and_keeps_the_jobs_until_it_is_resumed(
    studio: Any, make_backend: Any
) -> None:
    paid = make_backend(free=False)
    studio.backends.by_name |= {"mock": paid, "sibling": make_backend(free=False)}
    ids = [studio.desk.submit(), studio.desk.submit(backend="sibling")]
    paid.script = [errors.CredentialError("token refused")]

    outcome = studio.draw()

    assert outcome.state is JobState.QUEUED
    assert studio.draw() is None
    ledger = studio.desk.ledger
    assert paused_backends(ledger) == dict.fromkeys(("mock", "sibling"), "token refused")
    account = studio.backends.sharing_account("sibling")
    assert resume_backends(ledger, "sibling", account=account) == ["mock", "sibling"]
    assert {studio.draw().state, studio.draw().state} == {JobState.GENERATED}
    assert [studio.desk.job(each).attempt_count for each in ids] == [1, 1]


def test_resuming_an_account_leaves_what_a_person_has_paused(studio: Any) -> None:
    ledger = studio.desk.ledger
    pause_backend(ledger, "mock", reason="token refused", pause_s=None, code="credential")
    pause_backend(ledger, "sibling", reason="by hand", pause_s=None)

    assert resume_backends(ledger, "mock", account=["mock", "sibling"]) == ["mock"]

    assert list(paused_backends(ledger)) == ["sibling"]


def test_a_backend_that_is_away_uses_up_no_try_and_is_left_alone_until_it_is_back(
    studio: Any,
) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [errors.BackendUnavailable("down")] * 10
    circuits = studio.circuits()

    for _ in range(10):
        studio.draw()
        studio.be_due(job_id)
        assert studio.draw() is None, "its circuit is open"
        studio.clock.sleep(6)
        circuits.check_due()

    assert studio.draw().state is JobState.GENERATED
    assert [each.number for each in studio.desk.attempts(job_id)] == [1]


def test_what_another_process_cannot_reach_is_drawn_by_the_one_that_can(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [errors.BackendUnavailable("down")]
    studio.draw("one")
    studio.be_due(job_id)

    assert studio.draw("one") is None

    assert studio.draw("two").state is JobState.GENERATED


def test_a_job_that_alone_is_refused_while_others_are_drawn_uses_up_its_tries(
    sqlite_studio: Any,
) -> None:
    studio = sqlite_studio
    bad = studio.desk.submit()

    def refuse_one(request: Any, _run: Any) -> None:
        if request.seed == 7:
            raise errors.BackendUnavailable("lost three times")

    for number in range(10):
        studio.desk.submit(request=studio.desk.request(seed=100 + number))
    for _ in range(4):
        studio.be_due(bad)
        for _ in range(2):
            studio.backend.script = [refuse_one]
            studio.draw()
            studio.clock.sleep(6)
            studio.circuits().check_due()
    studio.be_due(bad)
    studio.backend.script = [refuse_one]
    studio.draw()

    assert studio.desk.job(bad).state is JobState.FAILED
    assert len(studio.desk.attempts(bad)) == 4


def test_a_stuck_backend_is_left_alone_by_its_own_process_only(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [errors.BackendStuck("stuck", "restart it", 30.0)]
    studio.draw("one")
    studio.be_due(job_id)

    assert studio.draw("one") is None
    assert paused_backends(studio.desk.ledger) == {}

    assert studio.draw("two").state is JobState.GENERATED


def test_a_rate_limit_beyond_the_patience_pauses_the_account(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [errors.RateLimited("wait", "", 1.0)] * 2
    studio.draw()
    studio.desk.shift(job_id, "limited_since", -901)
    studio.be_due(job_id)

    assert studio.draw().state is JobState.QUEUED

    assert paused_backends(studio.desk.ledger) == {"mock": "wait"}
    resume_backends(studio.desk.ledger, "mock")
    assert studio.draw().state is JobState.GENERATED
