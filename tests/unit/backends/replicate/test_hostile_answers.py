"""Malformed answers lead to no second payment, and delay no other job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from imagen.backends.replicate.api.client import ApiAnswer
from imagen.backends.replicate.api.predictions import read_prediction
from imagen.backends.replicate.api.refusals import quote, read_retry_after_s, refusal_of
from imagen.backends.replicate.backend import ReplicateBackend
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    CredentialError,
    OutcomeUnknown,
    RateLimited,
)
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]
SETTINGS = ReplicateSettings(model="black-forest-labs/flux-schnell", api_token_env="MY_TOKEN")


@pytest.mark.parametrize(
    "fault",
    [ReplicateFault.NESTED_ANSWER, ReplicateFault.INFINITE_ANSWER, ReplicateFault.UNREADABLE_ID],
)
def test_a_created_prediction_whose_answer_cannot_be_read_is_found_and_used(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.inject(fault)

    assert build().generate(request_, new_run()).data

    assert fake.world.created_count() == 1


@pytest.mark.parametrize(
    "fault", [ReplicateFault.LIST_NESTED, ReplicateFault.LIST_WITH_BROKEN_CURSOR]
)
def test_a_create_call_whose_list_cannot_be_read_either_is_of_unknown_outcome(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.inject(ReplicateFault.NESTED_ANSWER)
    fake.inject(fault, times=99)

    with pytest.raises(OutcomeUnknown):
        build(patience_s=0.6).generate(request_, new_run())

    assert fake.world.created_count() == 1


def test_a_poll_that_cannot_be_read_is_asked_again(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.POLL_NESTED)

    assert build().generate(request_, new_run()).data


def test_a_poll_that_trickles_is_given_up_and_asked_again(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer would take ten minutes, in pieces of one second."""
    monkeypatch.setattr("imagen.backends.replicate.purchase.follow._CALL_TIMEOUT_S", 0.3)
    fake.inject(ReplicateFault.POLL_TRICKLES)

    assert build().generate(request_, new_run()).data

    assert fake.world.created_count() == 1


def test_a_cancel_is_over_in_time_when_its_answers_trickle(
    build: Build, fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagen.backends.replicate.purchase.cancel._TIMEOUT_S", 0.3)
    one = fake.world.create("acme/x", {"prompt": "x"}, fault=ReplicateFault.NEVER_ENDS)
    fake.inject(ReplicateFault.POLL_TRICKLES, times=99)

    with pytest.raises(BackendUnavailable, match="took too long"):
        build().cancel(one.id)


def test_numbers_beyond_measure_are_not_charged(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.ENDLESS_METRICS)

    drawn = build().generate(request_, new_run())

    assert drawn.cost.usd == Decimal("0.003")
    assert "image_count" not in drawn.details["metrics"]


@pytest.mark.parametrize("name", ["", "../account", "a b", "a\x00b", "ä", "x" * 200, 7, None])
def test_an_id_that_no_path_and_no_ledger_takes_as_it_is_counts_as_none(name: object) -> None:
    assert read_prediction({"id": name, "status": "starting"}) is None


def test_what_a_prediction_tells_beyond_reason_is_left_out() -> None:
    told = {
        "id": "x1",
        "status": "succ\x00eeded",
        "version": ["hidden"],
        "metrics": {"a": 1, "b\x00": 2, "c": "\x00", "d": 10**300, "e": True},
        "created_at": "0001-01-01T00:00:00+23:00",
        "completed_at": "9" * 30,
    }

    prediction = read_prediction(told)

    assert prediction is not None
    assert (prediction.status, prediction.version, prediction.took_s) == ("", "", None)
    assert prediction.metrics == {"a": 1}


def test_a_date_that_is_none_leaves_the_clock_as_it_was(build: Build) -> None:
    client = build()._client

    for date in ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "9" * 20, ""):
        client._note_time({"Date": date})

    assert not client.knows_server_time
    assert abs((client.server_now() - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("value", "expected_s"), [("9" * 20, 3600.0), ("9" * 400, None), ("Infinity", None)]
)
def test_a_retry_after_beyond_reason_is_bounded(value: str, expected_s: float | None) -> None:
    assert read_retry_after_s(ApiAnswer(429, {"Retry-After": value}, {})) == expected_s
    assert read_retry_after_s(ApiAnswer(429, {}, {"retry_after": 10**400})) is None


def test_a_foreign_text_is_quoted_without_what_terminals_and_databases_choke_on() -> None:
    assert quote("a\x00b\x1b[31m\ud800 c\nd", ()) == "a b [31m c d"


def test_a_wait_longer_than_the_patience_is_for_the_job_that_was_told_alone(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.stage.retry_after_s = 3000
    fake.inject(ReplicateFault.THROTTLED)
    backend = build()

    with pytest.raises(RateLimited) as caught:
        backend.generate(request_, new_run())
    drawn = backend.generate(request_, new_run())

    assert caught.value.retry_after_s == 3000
    assert drawn.data


def test_a_403_with_another_reason_does_not_accuse_the_token(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.FORBIDDEN)

    with pytest.raises(BackendRejected, match="permission to run this model in your region"):
        build().generate(request_, new_run())


def test_a_403_of_a_firewall_is_a_backend_that_is_away(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.FORBIDDEN_BY_FIREWALL)

    with pytest.raises(BackendUnavailable, match="403"):
        build().generate(request_, new_run())


def test_a_403_about_the_token_keeps_the_providers_words() -> None:
    body = {"detail": "Your token does not have the scope predictions:write"}

    error = refusal_of(ApiAnswer(403, {}, body), SETTINGS, name="cloud")

    assert isinstance(error, CredentialError)
    assert "MY_TOKEN" in str(error)
    assert "predictions:write" in str(error)


def test_an_answer_that_repeats_the_token_does_not_show_it(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend = build()
    fake.world.create("acme/x", {"prompt": "test-token"}, fault=None)

    listed = backend._client.get("/predictions", timeout_s=5).body

    assert "test-token" not in str(listed)
