"""Readers of what a server sent; a value that cannot be read is None.

Servers may be faulty or hostile: 200,000 levels of JSON, ``Infinity``, a date in a year of twenty
digits. No reader raises for any of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

# A date outside these years is treated as an error of the server.
_YEARS = range(2000, 2200)
_MOST_LEVELS = 100


def read_json(
    raw: bytes,
    *,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The JSON in ``raw``; None where it is none (as it is for ``null``).

    It is also None for more than a hundred levels, for ``Infinity`` and ``NaN`` without
    ``parse_constant``, and for numbers beyond a double without ``parse_float``.
    """
    try:
        value = json.loads(
            raw, parse_float=parse_float or _finite, parse_constant=parse_constant or _refuse
        )
    except (ValueError, RecursionError):
        return None
    # The parser nests deeper than other code can recurse, such as ``str`` and ``==``.
    return None if _has_too_many_levels(value) else value


def read_seconds(value: Any) -> float | None:
    """A number of seconds, not negative, given as a number or as digits; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def read_http_date(value: str | None) -> datetime | None:
    """A date as headers write it, in UTC; None where it cannot be read."""
    try:
        moment = parsedate_to_datetime(value or "")
        return moment.astimezone(UTC) if moment.tzinfo and moment.year in _YEARS else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def read_iso_time(value: Any) -> datetime | None:
    """An ISO 8601 time, in UTC; one without a zone is taken as UTC. None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.year not in _YEARS:
            return None
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def read_retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds that ``Retry-After`` asks for, given as a number or as a date; else None."""
    value = headers.get("Retry-After")
    seconds = read_seconds(value)
    if seconds is not None:
        return seconds
    moment = read_http_date(value)
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _has_too_many_levels(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MOST_LEVELS):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
