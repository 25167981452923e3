"""Options that several commands share, and values as people type them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import click

from imagen.cli.shell import Shell

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _note_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if isinstance(context.obj, Shell):
        context.obj.wants_json = value


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_note_json,
    help="Answer with one JSON object, also on failure.",
)

config_option = click.option(
    "--config", metavar="PATH", help="The configuration to read. [default: ~/.config/imagen.yaml]"
)


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    callback=lambda _context, _parameter, value: parse_timeout(value),
    metavar="S",
    default="",
    help="Give up waiting after so many seconds.",
)


def parse_timeout(text: str) -> float | None:
    """Seconds, also as ``90s``, ``5m`` or ``1h``; nothing for "" and 0, which mean "for ever"."""
    return parse_seconds(text) or None if text else None


def parse_seconds(text: str) -> float:
    """Seconds as people type them: ``90``, ``1.5``, ``30s``, ``5m``, ``2h``, ``3d``, ``1w``.

    Raises:
        click.BadParameter: it is none of these.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smhdw]?)\s*", text, re.ASCII)
    seconds = float(match[1]) * _UNITS_S[match[2] or "s"] if match else math.inf
    if not math.isfinite(seconds) or seconds > 10 * 365 * 86_400:
        raise click.BadParameter(f"{text!r} is no time; for example: 90, 30s, 5m, 2h, 1d")
    return seconds


def parse_since(text: str, *, now: datetime) -> datetime:
    """A moment: so long ago (``2h``, ``7d``), or a date or time, local where it names no zone.

    Raises:
        click.BadParameter: it is none of these.
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
    """``--opt KEY=VALUE`` pairs; only the first ``=`` divides.

    Raises:
        click.BadParameter: one is no pair, or a key comes twice; it is named.
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
