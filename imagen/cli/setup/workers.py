"""``imagen workers``: which worker processes are alive, and what they cannot reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.options import config_option, json_option
from imagen.cli.screen.screen import table
from imagen.cli.shell import Shell
from imagen.domain.printable import printable_line

if TYPE_CHECKING:
    from imagen.ledger.jobs.worker_rows import Worker


@click.command(short_help="Which workers are alive, and what they cannot reach.")
@json_option
@config_option
@click.pass_obj
def workers(shell: Shell, config: str | None) -> None:
    """List the workers that reported themselves within a lease, on every host of this ledger.

    Below each stand the backends that it cannot reach now, and leaves to other workers.
    """
    from imagen.cli.screen.log import set_up_logging
    from imagen.ledger.jobs.worker_rows import live_workers

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        found = live_workers(imagen.ledger, within_s=imagen.config.workers.lease_s)
    if shell.wants_json:
        shell.screen.answer_json({"workers": list(map(_facts, found)), "error": None})
        return
    if not found:
        shell.screen.say("no live worker")
        return
    for line in _lines(found):
        shell.screen.answer(line)


def _facts(worker: Worker) -> dict[str, Any]:
    return {
        "owner": worker.owner,
        "host": worker.host,
        "role": worker.role,
        "queues": list(worker.queues),
        "backends": list(worker.backends),
        "model": worker.model,
        "started_at": worker.started_at.isoformat(),
        "seen_s": round(worker.seen_s, 1),
        "open_circuits": [
            {"backend": each.backend, "since": each.since.isoformat(), "why": each.why}
            for each in worker.open_circuits
        ],
    }


def _lines(found: list[Worker]) -> list[str]:
    from imagen.cli.screen.durations import brief

    rows = [
        (
            worker.role,
            printable_line(worker.host),
            ", ".join(map(printable_line, worker.queues)),
            printable_line(worker.model or ""),
            f"{brief(worker.seen_s)} ago",
        )
        for worker in found
    ]
    head, *body = table(("ROLE", "HOST", "QUEUES", "MODEL", "HEARD FROM"), rows)
    lines = [head]
    for line, worker in zip(body, found, strict=True):
        lines.append(line)
        for circuit in worker.open_circuits:
            since = circuit.since.astimezone().strftime("%H:%M:%S")
            why = f"cannot use {circuit.backend} since {since}: {circuit.why}"
            lines.append(f"  {printable_line(why)}")
    return lines
