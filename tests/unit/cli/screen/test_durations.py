"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imagen.cli.screen.durations import age, brief


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (3.21, "3.2 s"),
        (41.4, "41 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds, text):
    assert brief(seconds) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=5), "5s"),
        (timedelta(minutes=12, seconds=59), "12m"),
        (timedelta(hours=30), "1d"),
        (timedelta(seconds=-3), "0s"),
    ],
)
def test_an_age_has_one_unit_and_is_never_negative(passed, text):
    now = datetime(2026, 11, 20, tzinfo=UTC)

    assert age(now - passed, now) == text
