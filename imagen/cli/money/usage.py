"""``imagen usage``: what was drawn and what it cost, grouped, or row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from imagen.cli.options.options import config_option, json_option, parse_seconds
from imagen.cli.shell import Shell
from imagen.errors import CloudError, RequestError

if TYPE_CHECKING:
    from imagen.ledger.queries.usage_rows import UsageRow
    from imagen.services.report.usage_report import UsageReport
    from imagen.wiring.bootstrap import Imagen


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
    from imagen.services.report.usage_report import parse_grouping

    if as_csv and shell.wants_json:
        raise RequestError("--json and --csv exclude each other", "choose one")
    now = datetime.now(UTC)
    span = Span(parse_day(since, now=now), parse_day(until, now=now, is_end=True))
    groups = parse_grouping(by)
    set_up_logging(shell)
    with shell.imagen(config) as imagen, _advised():
        source = _Source(shell, imagen, span, is_local=local)
        if raw:
            _answer_rows(shell, source.rows(), as_csv=as_csv)
        else:
            _answer_sums(shell, source.sums(groups), span, as_csv=as_csv)
        source.tell_unsent()


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since`` up to, but without, ``until``; nothing is no end."""

    since: datetime | None
    until: datetime | None


def parse_day(text: str, *, now: datetime, is_end: bool = False) -> datetime | None:
    """A day or a time in UTC, or so long ago (``7d``); nothing for "".

    The end of a span that is a day is the end of that day.

    Raises:
        click.BadParameter: it is none of these.
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
    """Where the table elsewhere cannot be read, the ledger still can."""
    try:
        yield
    except CloudError as error:
        hint = "\n".join(filter(None, [error.hint, "what this ledger knows: imagen usage --local"]))
        raise CloudError(f"usage: {error.message}", hint, error.retryable) from error


class _Source:
    """Where the rows are: in the ledger, or in the table elsewhere and on their way to it."""

    def __init__(self, shell: Shell, imagen: Imagen, span: Span, *, is_local: bool) -> None:
        self._shell = shell
        self._ledger = imagen.ledger
        self._span = span
        self._table = None if is_local else imagen.usage_sink()
        self._unsent = 0

    def rows(self) -> Iterator[UsageRow]:
        from imagen.ledger.queries.usage_rows import read_usage
        from imagen.services.report.usage_rows import read_all_usage

        since, until = self._span.since, self._span.until
        if self._table is None:
            return read_usage(self._ledger, since=since, until=until)
        return read_all_usage(
            self._ledger, self._table, since=since, until=until, on_unsent=self._note_unsent
        )

    def sums(self, by: tuple[str, ...]) -> UsageReport:
        from imagen.ledger.queries.usage_rows import sum_in_database
        from imagen.services.report.usage_report import UsageReport, sum_usage

        if self._table is not None or self._ledger.kind != "postgresql":
            return sum_usage(self.rows(), by=by)
        # A million rows in a second, and none of them comes here.
        *groups, total = sum_in_database(
            self._ledger, by=by, since=self._span.since, until=self._span.until
        )
        return UsageReport(by, groups, total)

    def tell_unsent(self) -> None:
        if self._unsent:
            images = "1 image" if self._unsent == 1 else f"{self._unsent:,} images"
            self._shell.screen.say(f"{images} of these still to send to Supabase; see: imagen sync")

    def _note_unsent(self, number: int) -> None:
        self._unsent = number


def _answer_rows(shell: Shell, rows: Iterator[UsageRow], *, as_csv: bool) -> None:
    from imagen.cli.money.usage_rows import answer_csv, answer_json, answer_tabs

    if shell.wants_json:
        answer_json(shell, rows)
    elif as_csv:
        answer_csv(shell, rows)
    else:
        answer_tabs(shell, rows)


def _answer_sums(shell: Shell, report: UsageReport, span: Span, *, as_csv: bool) -> None:
    from imagen.cli.money import usage_output

    if shell.wants_json:
        facts = {"since": span.since, "until": span.until, **usage_output.facts(report)}
        shell.screen.answer_json(facts | {"error": None})
        return
    lines = usage_output.csv_lines(report) if as_csv else usage_sums.table_lines(report)
    for line in lines:
        shell.screen.answer(line)
    if not report.total.count:
        shell.screen.say("no usage")
