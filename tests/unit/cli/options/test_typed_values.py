"""Values as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.cli.options.typed_values import parse_options, parse_seconds, parse_since, parse_timeout

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), (".5", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)],
)
def test_times_have_units(text, seconds):
    assert parse_seconds(text) == seconds


@given(st.text(max_size=20))
def test_a_time_is_a_bounded_number_or_a_clear_error(text):
    try:
        seconds = parse_seconds(text)
    except click.BadParameter:
        return

    assert 0 <= seconds <= 10 * 365 * 86_400


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e400", "9" * 400, "5 minutes", "٣"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.BadParameter):
        parse_seconds(text)


def test_no_timeout_is_nothing_or_zero():
    assert parse_timeout("") is None
    assert parse_timeout("0") is None
    assert parse_timeout("2.5") == 2.5


def test_since_is_so_long_ago_or_a_date():
    assert parse_since("2h", now=NOW) == NOW - timedelta(hours=2)
    assert parse_since("2026-11-19T10:00:00+00:00", now=NOW) == datetime(
        2026, 11, 19, 10, tzinfo=UTC
    )
    assert parse_since("2026-11-19", now=NOW).astimezone().hour == 0


@pytest.mark.parametrize("text", ["yesterday", "17", "20261119", "2026-13-01"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(click.BadParameter):
        parse_since(text, now=NOW)


def test_an_option_is_divided_at_its_first_equals_sign():
    assert parse_options(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("pairs", [["guidance"], ["=3"], ["a=1", "a=2"]])
def test_an_option_that_is_no_pair_or_comes_twice_is_named(pairs):
    with pytest.raises(click.BadParameter) as caught:
        parse_options(pairs)

    assert pairs[-1].split("=")[0] in str(caught.value)
