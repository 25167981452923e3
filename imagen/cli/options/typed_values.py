"""Values of options as users type them: seconds, moments, pairs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import click

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def parse_timeout(text: str) -> float | None:
    """Seconds, also as ``90s``, ``5m`` or ``1h``; None for "" and 0, which mean "for ever"."""
    return parse_seconds(text) or None if text else None


def parse_seconds(text: str) -> float:
    """Seconds: ``90``, ``1.5``, ``30s``, ``5m``, ``2h``, ``3d``, ``1w``.

    Raises:
        click.BadParameter: the text is none of these.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smhdw]?)\s*", text, re.ASCII)
    seconds = float(match[1]) * _UNITS_S[match[2] or "s"] if match else math.inf
    if not math.isfinite(seconds) or seconds > 10 * 365 * 86_400:
        raise click.BadParameter(f"{text!r} is no time; for example: 90, 30s, 5m, 2h, 1d")
    return seconds


def parse_since(text: str, *, now: datetime) -> datetime:
    """A moment: a time ago (``2h``, ``7d``), or a date or time, local unless it names a zone.

    Raises:
        click.BadParameter: the text is none of these.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is not None and not text.isdigit():
        return moment.astimezone(UTC)
    if text[-1:].isalpha():
        return now - timedelta(seconds=parse_seconds(text))
    raise click.BadParameter(f"{text!r} is no time; for example: 2h, 7d, 2026-11-20")


def parse_options(pairs: Iterable[str]) -> dict[str, str]:
    """``--opt KEY=VALUE`` pairs, divided at the first ``=``.

    Raises:
        click.BadParameter: one is not a pair, or a key comes twice; it is named.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise click.BadParameter(f"--opt {pair!r} is not KEY=VALUE")
        if key in found:
            raise click.BadParameter(f"--opt {key} is given twice")
        found[key] = value
    return found
