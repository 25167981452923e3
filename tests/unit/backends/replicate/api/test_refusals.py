"""The error for a refusal quotes Replicate's reason, and no private text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from imagen.backends.replicate.api.client import ApiAnswer
from imagen.backends.replicate.api.refusals import is_unclear, read_retry_after_s, refusal_of
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.errors import (
    BackendRejected,
    CredentialError,
    ImagenError,
    OutOfCredit,
    RateLimited,
)

SETTINGS = ReplicateSettings(model="black-forest-labs/flux-schnell", api_token_env="MY_TOKEN")


def refusal(status: int, body: Any = None, **headers: str) -> ImagenError:
    answer = ApiAnswer(status, headers, body)
    return refusal_of(answer, SETTINGS, name="cloud", private=("a vermilion fox", "fox"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_names_its_variable(status: int) -> None:
    error = refusal(status, {"detail": "You did not pass a valid authentication token"})

    assert isinstance(error, CredentialError)
    assert "MY_TOKEN" in str(error)


def test_an_empty_account_says_where_to_fill_it() -> None:
    error = refusal(402, {"title": "Insufficient credit", "detail": "You have no credit."})

    assert isinstance(error, OutOfCredit)
    assert "cloud" in str(error)
    assert "replicate.com/account/billing" in str(error)


def test_invalid_input_names_each_field_and_never_the_prompt() -> None:
    error = refusal(
        422,
        {
            "detail": "- input: a vermilion fox\n",
            "invalid_fields": [
                {"field": "input.steps", "description": "must be <= 4"},
                {"field": "input.prompt", "description": "'a vermilion fox' is\ntoo red"},
            ],
        },
    )

    assert isinstance(error, BackendRejected)
    assert "input.steps: must be <= 4" in str(error)
    assert "fox" not in str(error)
    assert "\n" not in str(error)


def test_a_foreign_text_is_cut_short() -> None:
    assert len(str(refusal(400, {"detail": "x" * 9999}))) < 500


@pytest.mark.parametrize("body", [None, [], "text", {"detail": None}, {"invalid_fields": ["x"]}])
def test_a_body_of_any_shape_is_survived(body: object) -> None:
    assert isinstance(refusal(422, body), BackendRejected)


def test_a_redirect_is_not_followed_but_explained() -> None:
    assert "base_url" in str(refusal(301))


@pytest.mark.parametrize(
    ("body", "headers", "expected_s"),
    [
        ({"retry_after": 5}, {}, 5.0),
        ({}, {"Retry-After": "7"}, 7.0),
        ({"detail": "Your rate limit resets in ~30s."}, {}, 30.0),
        ({}, {"ratelimit-reset": "1"}, 1.0),
        ({"retry_after": 5, "detail": "resets in ~9s"}, {"Retry-After": "2"}, 9.0),
        ({"retry_after": True}, {"Retry-After": "soon"}, None),
        ({"retry_after": -3}, {"Retry-After": "nan"}, None),
        ({"retry_after": 1e12}, {}, 3600.0),
        (None, {}, None),
    ],
)
def test_the_longest_wait_that_is_named_anywhere_counts(
    body: Any, headers: dict[str, str], expected_s: float | None
) -> None:
    assert read_retry_after_s(ApiAnswer(429, headers, body)) == expected_s


def test_a_date_is_a_wait_too() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    wait_s = read_retry_after_s(ApiAnswer(429, {"Retry-After": later}, {}))

    assert wait_s is not None
    assert 50 < wait_s <= 60


def test_a_429_carries_its_wait() -> None:
    error = refusal(429, {"retry_after": 5})

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 5


@pytest.mark.parametrize(
    ("status", "expected"),
    [(500, True), (504, True), (408, True), (201, True), (422, False), (429, False), (301, False)],
)
def test_only_a_clear_no_is_certain_to_have_created_nothing(status: int, expected: bool) -> None:
    assert is_unclear(ApiAnswer(status, {}, None)) is expected
