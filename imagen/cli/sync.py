"""``imagen sync``: sends what is left of usage rows and copies, and tells what is not through."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options import config_option, json_option, timeout_option
from imagen.cli.shell import Failed, Shell
from imagen.errors import CloudError

if TYPE_CHECKING:
    from imagen.bootstrap import Imagen
    from imagen.ledger.backlog import Backlog

EXIT_SOMETHING_LEFT = 5
_TELL_EVERY_S = 5.0
_LOOK_EVERY_S = 0.1


@click.command(short_help="Send usage and copies that are still to go out.")
@click.option("--status", is_flag=True, help="Send nothing; tell what waits, and why.")
@timeout_option
@json_option
@config_option
@click.pass_obj
def sync(shell: Shell, status: bool, timeout_s: float | None, config: str | None) -> int:
    """Send every usage row and image that did not reach Supabase yet, now.

    Ends with 0 when nothing is left, else with 5; sending again doubles nothing. Usage that was
    kept here while no project was configured goes out, too.
    """
    from imagen.cli.log import set_up_logging

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        sent = 0 if status else _send(shell, imagen, timeout_s=timeout_s)
        return _answer(shell, imagen, sent=sent, is_status=status)


def _send(shell: Shell, imagen: Imagen, *, timeout_s: float | None) -> int:
    """Try everything that waits, once; says how much arrived."""
    from imagen.cli.outgoing import Drainer
    from imagen.ledger.backlog import put_kept_usage_in_outbox
    from imagen.ledger.outbox import count_pending
    from imagen.ledger.scope import EVERYTHING

    if imagen.has_supabase and imagen.ledger.kind == "sqlite":
        put_kept_usage_in_outbox(imagen.ledger)
    imagen.free_outbox()
    total = sum(count_pending(imagen.ledger).values())
    if not total:
        return 0
    drainer = Drainer(imagen, EVERYTHING, now=True)
    shell.interrupt.how_to_go_on = "send the rest with: imagen sync"
    began_s = told_s = time.monotonic()
    try:
        with shell.interrupt.stopping(drainer.stop):
            drainer.start()
            while not drainer.wait(_LOOK_EVERY_S) and not shell.interrupt.signum:
                now_s = time.monotonic()
                if timeout_s is not None and now_s - began_s >= timeout_s:
                    break
                if now_s - told_s >= _TELL_EVERY_S:
                    told_s = now_s
                    left = sum(count_pending(imagen.ledger).values())
                    shell.screen.say(f"{left:,} of {total:,} still to send")
    finally:
        drainer.leave()
    return drainer.sent or max(0, total - sum(count_pending(imagen.ledger).values()))


def _answer(shell: Shell, imagen: Imagen, *, sent: int, is_status: bool) -> int:
    from imagen.ledger.backlog import backlog
    from imagen.ledger.outbox import count_pending

    pending = count_pending(imagen.ledger)
    left = sum(pending.values())
    reasons = backlog(imagen.ledger) if left else []
    facts = {
        "sent": sent,
        "left": {sink: pending.get(sink, 0) for sink in ("usage", "cloud")},
        "configured": imagen.has_supabase,
        "waiting": [_facts(each) for each in reasons],
    }
    if is_status and shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})
    elif not shell.wants_json:
        _tell(shell, imagen, reasons, sent=sent, is_status=is_status)
    if left and not is_status:
        raise Failed(_error(imagen, left), facts)
    if shell.wants_json and not is_status:
        shell.screen.answer_json(facts | {"error": None})
    return EXIT_SOMETHING_LEFT if left else 0


def _facts(each: Backlog) -> dict[str, Any]:
    return {
        "sink": each.sink,
        "number": each.number,
        "why": each.why or None,
        "oldest_at": each.oldest_at.isoformat(),
        "being_sent": each.held,
    }


def _tell(
    shell: Shell, imagen: Imagen, reasons: Sequence[Backlog], *, sent: int, is_status: bool
) -> None:
    from imagen.cli.screen import table

    screen = shell.screen
    if sent:
        screen.say(f"{sent:,} sent")
    if reasons:
        now = datetime.now(UTC)
        for line in table(
            ("WHAT", "NUMBER", "OLDEST", "WHY"), [_row(each, now) for each in reasons]
        ):
            screen.answer(line)
    elif not sent:
        screen.say("nothing to send")
    if is_status and imagen.missing_for_supabase:
        screen.say(f"no Supabase project is configured: set {imagen.missing_for_supabase}")


def _row(each: Backlog, now: datetime) -> tuple[str, ...]:
    from imagen.cli.durations import age
    from imagen.cli.outgoing import NAMES
    from imagen.cli.screen import printable

    why = printable(each.why).replace("\n", " ") or "not tried yet"
    if each.held:
        why = f"{each.held:,} being sent by another process now; {why}"
    return NAMES[each.sink], f"{each.number:,}", age(each.oldest_at, now), why


def _error(imagen: Imagen, left: int) -> CloudError:
    what = "1 did not arrive" if left == 1 else f"{left:,} did not arrive"
    if imagen.missing_for_supabase:
        return CloudError(
            f"{what}: no Supabase project is configured", f"set {imagen.missing_for_supabase}"
        )
    return CloudError(f"{what}; nothing is lost", "when the reason is gone: imagen sync")
