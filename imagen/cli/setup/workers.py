"""``imagen workers``: which worker processes are alive, and what they cannot reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.screen.text_tables import table
from imagen.cli.shell import Shell
from imagen.domain.printable import printable_line

if TYPE_CHECKING:
    from imagen.services.report.live_workers import WorkerView


@click.command(short_help="Which workers are alive, and what they cannot reach.")
@json_option
@config_option
@click.pass_obj
def workers(shell: Shell, config: str | None) -> None:
    """List the workers that reported themselves within a lease, on every host of this ledger.

    Below each are the backends that it cannot reach now.
    """
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.report.live_workers import view_workers

    set_up_logging(shell)
    with shell.ledger(config) as (process, ledger):
        found = view_workers(ledger, within_s=process.config.workers.lease_s)
    if shell.wants_json:
        workers = [each.to_json() for each in found]
        shell.screen.answer_json({"workers": workers, "error": None})
        return
    if not found:
        shell.screen.say("no live worker")
        return
    for line in _lines(found):
        shell.screen.answer(line)


def _lines(found: Sequence[WorkerView]) -> list[str]:
    from imagen.cli.screen.durations import brief

    rows = [
        (
            each.worker.role,
            printable_line(each.worker.host),
            ", ".join(map(printable_line, each.worker.queues)),
            printable_line(each.worker.model or ""),
            f"{brief(each.worker.seen_s)} ago",
        )
        for each in found
    ]
    head, *body = table(("ROLE", "HOST", "QUEUES", "MODEL", "HEARD FROM"), rows)
    lines = [head]
    for line, each in zip(body, found, strict=True):
        lines += [line, *(f"  {printable_line(outage)}" for outage in each.outages())]
    return lines
