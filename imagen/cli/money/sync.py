"""``imagen sync``: sends what is left of usage rows and copies, and tells what is not through."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.options import config_option, json_option, timeout_option
from imagen.cli.shell import Failed, Shell
from imagen.errors import CloudError

if TYPE_CHECKING:
    from imagen.ledger.outbox.backlog import Backlog
    from imagen.wiring.bootstrap import Imagen

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
    from imagen.cli.screen.log import set_up_logging

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        sent = _Sent() if status else _send(shell, imagen, timeout_s=timeout_s)
        return _answer(shell, imagen, sent=sent, is_status=status)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What arrived while the command ran; ``elsewhere`` of it was sent by another process."""

    number: int = 0
    elsewhere: int = 0


def _send(shell: Shell, imagen: Imagen, *, timeout_s: float | None) -> _Sent:
    """Try everything that waits, once, and wait for what another process is sending."""
    from imagen.ledger.outbox.backlog import put_kept_usage_in_outbox

    if imagen.sends_usage:
        put_kept_usage_in_outbox(imagen.ledger)
    imagen.free_outbox()
    total = _pending(imagen)
    if not total:
        return _Sent()
    shell.interrupt.how_to_go_on = "send the rest with: imagen sync"
    ends_s = None if timeout_s is None else time.monotonic() + timeout_s
    sending = _Sending(shell, imagen, total, ends_s)
    own = sending.drain(now=True)
    if sending.wait_for_others():
        # What they gave back is due; what they put off was tried just now.
        own += sending.drain(now=False)
    arrived = max(own, total - _pending(imagen))
    return _Sent(arrived, arrived - own)


@dataclass
class _Sending:
    """The steps of one ``imagen sync``; each tells every five seconds how far it is."""

    shell: Shell
    imagen: Imagen
    total: int
    ends_s: float | None
    told_s: float = field(default_factory=time.monotonic)

    def drain(self, *, now: bool) -> int:
        """Send what is free; says how much arrived."""
        from imagen.cli.money.outgoing import Drainer
        from imagen.domain.scope import EVERYTHING

        drainer = Drainer(self.imagen, EVERYTHING, now=now)
        try:
            with self.shell.interrupt.stopping(drainer.stop):
                drainer.start()
                while not drainer.wait(_LOOK_EVERY_S) and self._goes_on():
                    self._tell("")
        finally:
            drainer.leave()
        return drainer.sent

    def wait_for_others(self) -> bool:
        """Wait until other processes are through with what they are sending now.

        Says whether there was something to wait for.
        """
        from imagen.ledger.outbox.outbox import held_elsewhere

        ledger, owner = self.imagen.ledger, self.imagen.owner
        is_over = threading.Event()
        held = awaited = held_elsewhere(ledger, owner)
        with self.shell.interrupt.stopping(is_over.set):
            while held & awaited and self._goes_on() and not is_over.wait(_LOOK_EVERY_S):
                self._tell(f"; another process is sending {len(held):,}")
                self.imagen.free_outbox()
                held = held_elsewhere(ledger, owner)
        return bool(awaited)

    def _goes_on(self) -> bool:
        is_late = self.ends_s is not None and time.monotonic() >= self.ends_s
        return not is_late and not self.shell.interrupt.signum

    def _tell(self, more: str) -> None:
        if time.monotonic() - self.told_s >= _TELL_EVERY_S:
            self.told_s = time.monotonic()
            left = _pending(self.imagen)
            self.shell.screen.say(f"{left:,} of {self.total:,} still to send{more}")


def _pending(imagen: Imagen) -> int:
    from imagen.ledger.outbox.outbox import count_pending

    return sum(count_pending(imagen.ledger).values())


def _answer(shell: Shell, imagen: Imagen, *, sent: _Sent, is_status: bool) -> int:
    from imagen.ledger.outbox.backlog import count_unsent, unsent

    pending = count_unsent(imagen.ledger, sends_usage=imagen.sends_usage)
    left = sum(pending.values())
    reasons = unsent(imagen.ledger, sends_usage=imagen.sends_usage) if left else []
    facts = {
        "sent": sent.number,
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
    shell: Shell, imagen: Imagen, reasons: Sequence[Backlog], *, sent: _Sent, is_status: bool
) -> None:
    from imagen.cli.screen.screen import table

    screen = shell.screen
    if sent.number:
        others = f", {sent.elsewhere:,} of them by another process" if sent.elsewhere else ""
        screen.say(f"{sent.number:,} sent{others}")
    if reasons:
        now = datetime.now(UTC)
        for line in table(
            ("WHAT", "NUMBER", "OLDEST", "WHY"), [_row(each, now) for each in reasons]
        ):
            screen.answer(line)
    elif not sent.number:
        screen.say("nothing to send")
    missing = imagen.missing_for_supabase
    if is_status and missing:
        screen.say(f"no Supabase project is configured: set {missing}")
        _tell_kept(shell, imagen)


def _tell_kept(shell: Shell, imagen: Imagen) -> None:
    """Tell how many usage rows would be sent if a project were configured."""
    from imagen.ledger.outbox.backlog import count_kept_usage

    number = 0 if imagen.is_ledger_in_project else count_kept_usage(imagen.ledger)
    if number:
        rows = "1 usage row is" if number == 1 else f"{number:,} usage rows are"
        shell.screen.say(f"{rows} kept in this ledger until then")


def _row(each: Backlog, now: datetime) -> tuple[str, ...]:
    from imagen.cli.money.outgoing import NAMES
    from imagen.cli.screen.durations import age

    why = each.why or "not tried yet"
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
