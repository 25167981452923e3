"""``imagen sync``: sends usage rows and copies that wait, and tells what did not arrive."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option, json_option, timeout_option
from imagen.cli.shell import Failed, Shell
from imagen.errors import CloudError

if TYPE_CHECKING:
    from imagen.services.sync.send_now import SendProgress, Sent
    from imagen.services.sync.unsent import SyncStatus
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process

EXIT_SOMETHING_LEFT = 5


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
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.sync.send_now import Sent
    from imagen.services.sync.unsent import sync_status

    set_up_logging(shell)
    with shell.ledger(config) as (process, ledger):
        sent = Sent() if status else _send(shell, process, ledger, timeout_s=timeout_s)
        unsent = sync_status(
            ledger,
            sends_usage=process.sends_usage,
            counts_kept=not process.is_ledger_in_project,
        )
    missing = process.missing_for_supabase
    if not shell.wants_json:
        _tell(shell, unsent, sent)
        if status and missing:
            _tell_missing(shell, unsent, missing)
    facts = {"sent": sent.number, "configured": not missing} | unsent.to_json()
    if unsent.number and not status:
        raise Failed(_error(unsent.number, missing), facts)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})
    return EXIT_SOMETHING_LEFT if unsent.number else 0


def _send(shell: Shell, process: Process, ledger: Ledger, *, timeout_s: float | None) -> Sent:
    from imagen.services.sync.send_now import send_now
    from imagen.wiring.parts import held_lock
    from imagen.wiring.supabase import make_outbox_sender

    def tell(progress: SendProgress) -> None:
        others = f"; another process is sending {progress.by_others:,}"
        shell.screen.say(
            f"{progress.left:,} of {progress.total:,} still to send"
            + (others if progress.by_others else "")
        )

    shell.interrupt.how_to_go_on = "send the rest with: imagen sync"
    stop = threading.Event()
    with held_lock(process, outbox=ledger), shell.interrupt.stopping(stop.set):
        return send_now(
            make_outbox_sender(process, ledger),
            lock_folder=process.lock_folder,
            sends_usage=process.sends_usage,
            stop=stop,
            timeout_s=timeout_s,
            on_progress=tell,
        )


def _tell(shell: Shell, unsent: SyncStatus, sent: Sent) -> None:
    from imagen.cli.screen.text_tables import table

    screen = shell.screen
    if sent.number:
        others = f", {sent.by_others:,} of them by another process" if sent.by_others else ""
        screen.say(f"{sent.number:,} sent{others}")
    if unsent.waiting:
        for line in table(("WHAT", "NUMBER", "OLDEST", "WHY"), _rows(unsent)):
            screen.answer(line)
    elif not sent.number:
        screen.say("nothing to send")


def _rows(unsent: SyncStatus) -> list[tuple[str, ...]]:
    from imagen.cli.money.outgoing import NAMES
    from imagen.cli.screen.durations import age

    now = datetime.now(UTC)
    rows: list[tuple[str, ...]] = []
    for each in unsent.waiting:
        why = each.why or "not tried yet"
        if each.held:
            why = f"{each.held:,} being sent by another process now; {why}"
        rows.append((NAMES[each.sink], f"{each.number:,}", age(each.oldest_at, now), why))
    return rows


def _tell_missing(shell: Shell, unsent: SyncStatus, missing: str) -> None:
    shell.screen.say(f"no Supabase project is configured: set {missing}")
    if number := unsent.kept_usage:
        rows = "1 usage row is" if number == 1 else f"{number:,} usage rows are"
        shell.screen.say(f"{rows} kept in this ledger until then")


def _error(left: int, missing: str) -> CloudError:
    what = "1 did not arrive" if left == 1 else f"{left:,} did not arrive"
    if missing:
        return CloudError(f"{what}: no Supabase project is configured", f"set {missing}")
    return CloudError(f"{what}; nothing is lost", "when the reason is gone: imagen sync")
