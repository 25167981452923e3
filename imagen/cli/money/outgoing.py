"""What leaves this machine after a run: waited for a moment, and told where it did not arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from imagen.cli.screen.error_lines import tell
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.shell import Shell
from imagen.domain.printable import printable
from imagen.errors import ConfigError, ImagenError

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.ledger.outbox.backlog import Backlog
    from imagen.services.sync.send import SyncReport
    from imagen.wiring.bootstrap import Imagen

#: How long a command waits for the first try of what it has to send …
PATIENCE_S = 10.0
#: … and how long where another command waited in vain lately.
PATIENCE_AFTER_SILENCE_S = 1.5
#: For how long the commands of a ledger remember that Supabase did not answer in time.
SILENCE_REMEMBERED_S = 300.0
#: Silence up to here is nothing to wonder about.
_SILENT_S = 1.5
_LOOK_EVERY_S = 0.05
_END_S = 0.3
_AGAIN_AFTER_S = 0.2

NAMES = {"usage": "usage", "cloud": "cloud sync"}


def require_cloud(imagen: Imagen, *, sync: str) -> None:
    """Nothing, unless copies must be sent (``on``) and this process, which delivers, cannot.

    With a broker the results worker delivers: what is missing there is told on the job.

    Raises:
        ConfigError, CredentialError: what is missing, before anything is drawn.
    """
    if sync != "on" or imagen.has_broker:
        return
    where = imagen.config.where(("output", "cloud_sync"))
    why = f"cloud_sync is on ({where}), but"
    if not imagen.config.owner_user_id:
        raise ConfigError(
            f"{why} owner_user_id is not set",
            "set it to your user id in the Supabase project, or draw with --no-cloud",
        )
    if imagen.missing_for_supabase:
        raise ConfigError(
            f"{why} there is no Supabase project",
            f"set {imagen.missing_for_supabase}, or draw with --no-cloud",
        )
    from imagen.cloud.settings import read_settings

    read_settings(imagen.env)


def tell_outgoing(shell: Shell, imagen: Imagen, scope: Scope) -> None:
    """Wait up to ten seconds for the first try of what the scope's jobs have to send.

    Two seconds after a command of this ledger waited in vain in the last minutes. Then tell, on
    stderr, what did not arrive and why. The images are there whatever happens here, so nothing
    here fails.
    """
    try:
        _wait_for_first_try(shell, imagen, scope)
        _tell_kept_here(shell, imagen, scope)
    except ImagenError as error:
        tell(shell.screen, f"cloud sync: {error.message}", error.hint)
        return
    tell_unsent(shell, imagen, scope)


def tell_unsent(shell: Shell, imagen: Imagen, scope: Scope) -> None:
    """Tell, on stderr, what of the scope's jobs did not leave the ledger and why; sends nothing."""
    from imagen.ledger.outbox.backlog import unsent

    try:
        waiting = unsent(imagen.ledger, scope, sends_usage=imagen.sends_usage)
    except ImagenError as error:
        tell(shell.screen, f"cloud sync: {error.message}", error.hint)
        return
    for each in waiting:
        tell(shell.screen, f"{NAMES[each.sink]}: {_why(each)}")
    if waiting:
        goes_on = imagen.has_broker and not _sends_here(imagen)
        more = "the results worker goes on trying" if goes_on else "send it with: imagen sync"
        shell.screen.say(f"  {shell.screen.paint('hint:', 'cyan')} nothing is lost; {more}")


class Drainer:
    """Empties the outbox in a thread, so that nobody has to wait for a server that is silent."""

    def __init__(
        self,
        imagen: Imagen,
        scope: Scope,
        *,
        now: bool = False,
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        """``now`` tries what was put off as well; it starts over while ``is_wanted`` says so."""
        self._imagen = imagen
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._sync = imagen.sync(should_stop=self._stopping.is_set)
        self._drain: Callable[[], SyncReport] = lambda: self._sync.drain(scope, now=now)
        self._is_wanted = is_wanted
        self._sent = 0
        self._error: Exception | None = None
        # A daemon: a call that blocks for a minute must not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin. Others see by the lock file whether this process is still at it.

        Raises:
            ConfigError: the lock file cannot be written.
        """
        self._imagen.hold_lock_file()
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether everything was tried within so many seconds."""
        return self._over.wait(timeout_s)

    def stop(self) -> None:
        """Begin nothing more. Safe in a signal handler's thread."""
        self._stopping.set()

    def leave(self, *, why: str = "") -> None:
        """Stop, and let others have at once what any thread of this process is still at.

        ``why`` is recorded as the reason that it did not arrive.
        """
        from imagen.ledger.outbox.outbox import give_back_outgoing

        self.stop()
        # Unless it is in the middle of a call it ends now, and takes nothing after the give-back.
        self._over.wait(_END_S)
        give_back_outgoing(self._imagen.ledger, [self._imagen.owner], why=why)

    @property
    def sent(self) -> int:
        """How much arrived.

        Raises:
            ImagenError: the ledger went away meanwhile.
        """
        if self._error is not None:
            raise self._error
        return self._sent

    def _run(self) -> None:
        try:
            self._sent += self._drain().sent
            while self._is_wanted() and not self._stopping.wait(_AGAIN_AFTER_S):
                self._sent += self._drain().sent
        except Exception as error:
            self._error = error
        finally:
            self._over.set()


def _wait_for_first_try(shell: Shell, imagen: Imagen, scope: Scope) -> None:
    from imagen.ledger.outbox.outbox import count_untried
    from imagen.ledger.outbox.supabase import note_silence, was_silent

    ledger = imagen.ledger
    number = count_untried(ledger, scope)
    if not number:
        return
    patience_s = PATIENCE_AFTER_SILENCE_S if was_silent(ledger) else PATIENCE_S
    drainer = None
    if _sends_here(imagen):
        # Again and again: what the drawing's own thread was about to send becomes free in between.
        drainer = Drainer(imagen, scope, is_wanted=lambda: count_untried(ledger, scope) > 0)
    if drainer is not None:
        drainer.start()
    is_patient = True
    try:
        is_patient = _wait_for_tries(shell, imagen, scope, patience_s=patience_s)
    finally:
        if drainer is not None:
            drainer.leave(why="" if is_patient else f"no answer within {patience_s:.2g} s")
    if not is_patient and count_untried(ledger, scope) == number:
        note_silence(ledger, for_s=SILENCE_REMEMBERED_S)


def _wait_for_tries(shell: Shell, imagen: Imagen, scope: Scope, *, patience_s: float) -> bool:
    """Wait until everything was tried once; says whether the patience sufficed."""
    from imagen.ledger.outbox.outbox import count_untried

    began_s = time.monotonic()
    is_over = threading.Event()
    has_told = False
    try:
        with shell.interrupt.stopping(is_over.set):
            while not is_over.wait(_LOOK_EVERY_S) and count_untried(imagen.ledger, scope):
                waited_s = time.monotonic() - began_s
                if waited_s > patience_s:
                    return False
                if waited_s > _SILENT_S and not has_told:
                    has_told = True
                    _tell_wait(shell)
    except Interrupted:
        # The image is drawn and has been answered; only the wait for its copy ends.
        shell.screen.clear_line()
    return True


def _sends_here(imagen: Imagen) -> bool:
    """Whether this process is to send: there is no broker, or no results worker to do it."""
    if not imagen.has_broker:
        return True
    from imagen.ledger.jobs.worker_rows import live_workers

    workers = live_workers(imagen.ledger, within_s=imagen.config.workers.lease_s)
    return not any(each.role == "results" and each.host == imagen.host for each in workers)


def _tell_wait(shell: Shell) -> None:
    if shell.screen.is_terminal:
        shell.screen.say(shell.screen.paint("sending to Supabase …", "dim"))


def _why(each: Backlog) -> str:
    why = printable(each.why) or "not tried yet"
    return f"{why} ({each.number:,} images)" if each.number > 1 else why


def _tell_kept_here(shell: Shell, imagen: Imagen, scope: Scope) -> None:
    """Money was spent, and only this ledger knows."""
    from imagen.ledger.outbox.backlog import count_paid_here_only

    missing = imagen.missing_for_supabase
    # A PostgreSQL ledger may be all that its owner wants; what is kept though there is a project
    # is told with the rest that is unsent.
    if not missing or imagen.ledger.kind == "postgresql":
        return
    if count_paid_here_only(imagen.ledger, scope):
        tell(shell.screen, f"usage: kept in the local ledger only; set {missing} to send it")
