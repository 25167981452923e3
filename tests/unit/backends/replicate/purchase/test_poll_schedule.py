"""Most polls are made where the recent predictions ended."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest

from imagen.backends.replicate.purchase.poll_schedule import RecentDurations, next_gap_s, window_of

_ROUND_TRIP_S = 0.003


def follow(took_s: float, gap_s: Callable[[float], float]) -> tuple[float, int]:
    """The delay until a prediction's end is noticed, and the number of calls with the create."""
    at_s, calls = 0.0, 1
    while at_s < took_s:
        at_s += gap_s(at_s) + _ROUND_TRIP_S
        calls += 1
    return at_s - took_s, calls


def follow_many(middle_s: float, swing: float) -> tuple[list[float], list[int], list[float]]:
    dice, recent = random.Random(1), RecentDurations()
    delays, calls, fixed = [], [], []
    for _ in range(200):
        took_s = middle_s * (1 + dice.uniform(-swing, swing))
        window = window_of(recent.of("kind"), None)
        delay_s, count = follow(took_s, lambda at_s, window=window: next_gap_s(at_s, window))
        recent.add("kind", took_s)
        delays.append(delay_s)
        calls.append(count)
        fixed.append(follow(took_s, lambda _: 0.5)[0])
    return delays[5:], calls[5:], fixed[5:]


@pytest.mark.parametrize("swing", [0.02, 0.05])
@pytest.mark.parametrize("middle_s", [0.8, 3.0, 12.0])
def test_known_work_is_noticed_soon_and_with_few_calls(middle_s: float, swing: float) -> None:
    delays, calls, _ = follow_many(middle_s, swing)

    assert statistics.median(delays) < (0.06 if middle_s < 1 else 0.0834)
    # A long one is polled before its window too, as it may be quicker this time.
    assert statistics.mean(calls) <= (12 if middle_s < 12 else 26)


@pytest.mark.parametrize("expected_s", [None, 0.5, 4.0, 30.0, 300.0])
@pytest.mark.parametrize("recent", [(), (20.0,), (20.0, 30.0), (60.0, 61.0, 62.0, 63.0, 64.0)])
def test_an_end_is_noticed_at_most_half_a_second_or_15_percent_late_whatever_was_expected(
    recent: tuple[float, ...], expected_s: float | None
) -> None:
    window = window_of(recent, expected_s)

    for took_s in [number / 7 for number in range(1, 900)]:
        delay_s, _ = follow(took_s, lambda at_s: next_gap_s(at_s, window))

        assert delay_s <= max(0.5, 0.15 * (took_s + delay_s)) + _ROUND_TRIP_S, (took_s, delay_s)


def test_a_short_prediction_is_noticed_three_times_sooner_than_by_fixed_polls() -> None:
    delays, _, fixed = follow_many(0.8, 0.05)

    assert statistics.median(delays) * 3 < statistics.median(fixed)


def test_past_its_expected_end_a_prediction_is_never_left_alone_for_long() -> None:
    window = window_of((3.0, 3.1, 3.2), None)

    gaps = [next_gap_s(3.3 + late_s / 10, window) for late_s in range(600)]

    assert max(gaps) <= 0.5
    assert gaps == sorted(gaps)


def test_unknown_work_is_polled_at_most_half_a_second_apart() -> None:
    gaps = [next_gap_s(at_s / 10, None) for at_s in range(600)]

    assert min(gaps) > 0
    assert max(gaps) <= 0.5


def test_the_ledgers_expectation_serves_until_there_are_own_durations() -> None:
    expected = window_of((), 10.0)
    own = window_of((2.0, 2.1), 10.0)

    assert expected is not None
    assert expected.opens_s == pytest.approx(9.0)
    assert own is not None
    assert own.closes_s < 3


def test_one_stray_duration_does_not_stretch_the_window() -> None:
    window = window_of((1.0, 1.0, 1.0, 1.0, 30.0), None)

    assert window is not None
    assert window.closes_s < 1.1


def test_only_the_last_durations_of_a_kind_are_remembered() -> None:
    recent = RecentDurations()
    for number in range(50):
        recent.add("small", float(number))

    assert recent.of("small") == tuple(float(number) for number in range(30, 50))
    assert recent.of("large") == ()
