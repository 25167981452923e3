"""``imagen usage``: what was drawn and what it cost, grouped, or row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.options.typed_values import parse_seconds
from imagen.cli.shell import Shell
from imagen.errors import CloudError, RequestError

if TYPE_CHECKING:
    from imagen.domain.usage import UsageRow
    from imagen.services.report.usage_report import UsageReader


@click.command(short_help="What was drawn, and what it cost.")
@click.option("--since", default="", metavar="DATE", help="From this day on: 2026-11-20, or 7d.")
@click.option("--until", default="", metavar="DATE", help="Up to and including this day.")
@click.option(
    "--by",
    default="week,backend,model,caller",
    metavar="LIST",
    show_default=True,
    help="What to group by.",
)
@click.option("--raw", is_flag=True, help="Every row, in tab-separated columns.")
@click.option("--local", is_flag=True, help="Only what this ledger knows.")
@click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV.")
@json_option
@config_option
@click.pass_obj
def usage(
    shell: Shell,
    since: str,
    until: str,
    by: str,
    raw: bool,
    local: bool,
    as_csv: bool,
    config: str | None,
) -> None:
    """What was drawn, and what it cost. Dates are UTC; mock images do not count.

    Images of unknown price are counted beside the sum. Reads the project's table where
    SUPABASE_URL is set, and adds what did not arrive there yet.

    \b
    imagen usage --since 2026-11-01 --by model
    imagen usage --raw --csv > usage.csv
    """
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.report.usage_report import UsageReader, parse_grouping
    from imagen.wiring.supabase import remote_usage_table

    if as_csv and shell.wants_json:
        raise RequestError("--json and --csv exclude each other", "choose one")
    now = datetime.now(UTC)
    first, end = parse_day(since, now=now), parse_day(until, now=now, is_end=True)
    groups = parse_grouping(by)
    set_up_logging(shell)
    with shell.ledger(config) as (process, ledger), _advised():
        table = None if local else remote_usage_table(process)
        reader = UsageReader(ledger, table, first, end)
        if raw:
            _answer_rows(shell, reader.rows(), as_csv=as_csv)
        else:
            _answer_sums(shell, reader, groups, as_csv=as_csv)
        _tell_unsent(shell, reader.unsent)


def parse_day(text: str, *, now: datetime, is_end: bool = False) -> datetime | None:
    """A day or a time in UTC, or a duration before ``now`` (``7d``); None for "".

    With ``is_end`` a day stands for its end.

    Raises:
        click.BadParameter: the text is none of these.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or text.isdigit():
        if text[-1:] in "smhdw" and text[:1].isdigit():
            return now - timedelta(seconds=parse_seconds(text))
        raise click.BadParameter(f"{text!r} is no date; for example: 2026-11-20, 7d")
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment + timedelta(days=1) if is_end and ":" not in text else moment


@contextmanager
def _advised() -> Iterator[None]:
    """Add to a CloudError the hint that the ledger alone can be read."""
    try:
        yield
    except CloudError as error:
        hint = "\n".join(filter(None, [error.hint, "what this ledger knows: imagen usage --local"]))
        raise CloudError(f"usage: {error.message}", hint, error.retryable) from error


def _tell_unsent(shell: Shell, number: int) -> None:
    if number:
        images = "1 image" if number == 1 else f"{number:,} images"
        shell.screen.say(f"{images} of these still to send to Supabase; see: imagen sync")


def _answer_rows(shell: Shell, rows: Iterator[UsageRow], *, as_csv: bool) -> None:
    from imagen.cli.money.usage_output import answer_csv, answer_json, answer_tabs

    if shell.wants_json:
        answer_json(shell, rows)
    elif as_csv:
        answer_csv(shell, rows)
    else:
        answer_tabs(shell, rows)


def _answer_sums(shell: Shell, reader: UsageReader, by: tuple[str, ...], *, as_csv: bool) -> None:
    from imagen.cli.money.usage_output import csv_lines, table_lines

    report = reader.report(by)
    if shell.wants_json:
        span = {"since": reader.since, "until": reader.until}
        shell.screen.answer_json({**span, **report.to_json(), "error": None})
        return
    for line in csv_lines(report) if as_csv else table_lines(report):
        shell.screen.answer(line)
    if not report.total.count:
        shell.screen.say("no usage")
