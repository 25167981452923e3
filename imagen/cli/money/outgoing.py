"""Waits briefly for what leaves this machine after a run, and tells what did not arrive."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from imagen.cli.screen.error_lines import tell
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.shell import Shell
from imagen.domain.printable import printable
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process

#: The sinks of the outbox, for people.
NAMES = {"usage": "usage", "cloud": "cloud sync"}


def tell_outgoing(shell: Shell, process: Process, ledger: Ledger, scope: Scope) -> None:
    """Wait up to ten seconds for the first upload attempt of what the scope's jobs have to send.

    Up to two seconds where a command of this ledger waited in vain in the last minutes. Then tell,
    on stderr, what did not arrive and why. The images are there whatever happens here, so this
    raises no error. The process holds its lock file meanwhile.
    """
    from imagen.services.sync.unsent import is_paid_here_only

    try:
        _wait_for_first_upload(shell, process, ledger, scope)
        missing = process.missing_for_supabase
        # Where there is a project, this is told with the rest that is unsent.
        if missing and is_paid_here_only(ledger, scope):
            tell(shell.screen, f"usage: kept in the local ledger only; set {missing} to send it")
    except ImagenError as error:
        tell(shell.screen, f"cloud sync: {error.message}", error.hint)
        return
    tell_unsent(shell, process, ledger, scope)


def tell_unsent(shell: Shell, process: Process, ledger: Ledger, scope: Scope) -> None:
    """Tell, on stderr, what of the scope's jobs did not leave the ledger and why; sends nothing."""
    from imagen.services.sync.unsent import find_unsent

    screen = shell.screen
    try:
        unsent = find_unsent(ledger, scope, sends_usage=process.sends_usage)
    except ImagenError as error:
        tell(screen, f"cloud sync: {error.message}", error.hint)
        return
    for each in unsent:
        images = f" ({each.number:,} images)" if each.number > 1 else ""
        tell(screen, f"{NAMES[each.sink]}: {printable(each.why) or 'not tried yet'}{images}")
    if unsent:
        goes_on = _is_sent_by_worker(process, ledger)
        more = "the results worker goes on trying" if goes_on else "send it with: imagen sync"
        screen.say(f"  {screen.paint('hint:', 'cyan')} nothing is lost; {more}")


def _wait_for_first_upload(shell: Shell, process: Process, ledger: Ledger, scope: Scope) -> None:
    from imagen.services.sync.first_upload import wait_for_first_upload
    from imagen.wiring.supabase import make_outbox_sender

    def tell_wait() -> None:
        if shell.screen.is_terminal:
            shell.screen.say(shell.screen.paint("sending to Supabase …", "dim"))

    sender = None
    if not _is_sent_by_worker(process, ledger):
        sender = make_outbox_sender(process, ledger)
    stop = threading.Event()
    try:
        with shell.interrupt.stopping(stop.set):
            wait_for_first_upload(ledger, scope, sender=sender, stop=stop, on_wait=tell_wait)
    except Interrupted:
        # The image is drawn and has been answered; only the wait for its copy ends.
        shell.screen.clear_line()


def _is_sent_by_worker(process: Process, ledger: Ledger) -> bool:
    """Whether a results worker uploads what this host delivers; if not, this process does."""
    if not process.has_broker:
        return False
    from imagen.services.report.live_workers import has_results_worker

    return has_results_worker(ledger, process.host, within_s=process.config.workers.lease_s)
