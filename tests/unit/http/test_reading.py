"""What cannot be read counts as not there, however it was meant."""

from __future__ import annotations

import gc
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from imagen.http.reading import (
    read_http_date,
    read_iso_time,
    read_json,
    read_retry_after_s,
    read_seconds,
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 200_000 + b"]" * 200_000,
        b"[" * 101 + b"]" * 101,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b"Infinity",
        b'{"a": -Infinity}',
        b"[NaN, 1]",
        b"1e999",
        b"9" * 10_000,
    ],
    ids=lambda raw: raw[:12].decode(errors="replace"),
)
def test_what_is_no_json_counts_as_no_answer(raw: bytes) -> None:
    # Garbage of other tests would be collected deep in the recursion, where it may not be closed.
    gc.collect()

    assert read_json(raw) is None


def test_json_is_read_as_it_stands() -> None:
    assert read_json(b'{"a": [1, 2.5, "\\u00e9"], "b": null}') == {"a": [1, 2.5, "é"], "b": None}


def test_nesting_that_other_code_can_walk_is_read() -> None:
    assert str(read_json(b"[" * 100 + b"]" * 100)) == "[" * 100 + "]" * 100


def test_a_client_may_take_what_pythons_own_json_writes() -> None:
    assert read_json(b"[Infinity, 1e999]", parse_float=float, parse_constant=float) == [
        math.inf,
        math.inf,
    ]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3, 3.0),
        ("2.5", 2.5),
        ("99999999999999999999", 1e20),
        (10**400, None),
        ("9" * 400, None),
        ("Infinity", None),
        ("nan", None),
        (-1, None),
        ("²", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_seconds_are_finite_and_not_negative(value: object, seconds: float | None) -> None:
    assert read_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999999999999999",
        "99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Sat, 01 Jan 0999 00:00:00 +2300",
        "Wed, 21 Oct 2026 07:28:00 -0000",
    ],
)
def test_a_date_that_cannot_be_one_is_none(value: str | None) -> None:
    assert read_http_date(value) is None
    assert read_retry_after_s({"Retry-After": value} if value else {}) in (None, 1e20)


def test_a_date_is_read_in_utc() -> None:
    expected = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)

    assert read_http_date("Wed, 21 Oct 2026 09:28:00 +0200") == expected
    assert read_iso_time("2026-10-21T09:28:00+02:00") == expected
    assert read_iso_time("2026-10-21T07:28:00") == expected


@pytest.mark.parametrize(
    "value", ["", "soon", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", 5, None]
)
def test_an_iso_time_that_cannot_be_one_is_none(value: object) -> None:
    assert read_iso_time(value) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    assert read_retry_after_s({"Retry-After": "7"}) == 7.0
    assert 80 < (read_retry_after_s({"Retry-After": later}) or 0) <= 90
    assert read_retry_after_s({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert read_retry_after_s({}) is None
