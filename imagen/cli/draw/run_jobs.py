"""Gets the jobs of a command drawn, here or by workers, and tells how to go on after a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from imagen.cli.draw.job_messages import JobMessages
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.screen import Screen
from imagen.cli.shell import Shell
from imagen.services.report.orphaned_jobs import costly_jobs
from imagen.wiring.executors import command_executor
from imagen.wiring.parts import held_lock

if TYPE_CHECKING:
    from imagen.backends.registry import Registry
    from imagen.domain.scope import Scope
    from imagen.services.leases.process_lock import ProcessLock
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process

_MOST_IDS_NAMED = 20


@dataclass(frozen=True)
class JobRunner:
    """Runs jobs for one command, which holds its lock file meanwhile."""

    shell: Shell
    process: Process
    ledger: Ledger
    registry: Registry
    lock: ProcessLock

    def run(
        self,
        scope: Scope,
        messages: JobMessages,
        *,
        timeout_s: float | None = None,
        max_attempts: int | None = None,
    ) -> bool:
        """Draw and deliver in this process, or wait while workers do where there is a broker.

        Says whether nothing of ``scope`` is unfinished. Blocks, for at most ``timeout_s`` seconds.
        ``max_attempts`` is for what is drawn here.

        Raises:
            Interrupted: the user pressed Ctrl-C; what ran here was given back.
            OutputFailed: a path could not be written; the same.
            ImagenError: nothing more can be drawn now.
        """
        shell = self.shell
        shell.is_over = False
        with command_executor(
            self.process,
            self.ledger,
            self.registry,
            self.lock,
            listener=messages,
            max_attempts=max_attempts,
        ) as executor:
            messages.stop = executor.stop
            try:
                with shell.interrupt.stopping(executor.stop):
                    is_over = executor.run(scope, timeout_s=timeout_s)
            except Interrupted:
                hints = [shell.interrupt.how_to_go_on, self._costly_hint(scope)]
                shell.interrupt.how_to_go_on = "\n".join(filter(None, hints))
                raise
            finally:
                shell.is_over = True
        if messages.output_error is not None:
            raise messages.output_error
        return is_over

    def go_on_hint(self, ids: Sequence[UUID]) -> str:
        """What to type to get these unfinished jobs drawn after all."""
        return go_on_hint(self.process, ids)

    def _costly_hint(self, scope: Scope) -> str:
        """What to type so that no job of ``scope`` goes on to cost; "" where none does."""
        ids = costly_jobs(self.ledger, self.registry, scope)
        if not ids:
            return ""
        named = " ".join(map(str, ids)) if len(ids) <= _MOST_IDS_NAMED else "--all"
        images, cost = (
            ("1 image goes", "costs") if len(ids) == 1 else (f"{len(ids):,} images go", "cost")
        )
        return f"{images} on being drawn and {cost}; to stop: imagen jobs cancel {named}"


@contextmanager
def job_runner(
    shell: Shell, process: Process, ledger: Ledger, registry: Registry
) -> Iterator[JobRunner]:
    """A runner for the ``with`` block.

    Raises:
        ConfigError: the lock file cannot be written.
    """
    outbox = ledger if process.has_supabase else None
    with held_lock(process, outbox=outbox) as lock:
        yield JobRunner(shell, process, ledger, registry, lock)


def path_printer(screen: Screen) -> Callable[[str], None]:
    """What prints the path of each image as it is delivered."""
    return lambda path: screen.answer_result(path, what="the image is there")


def go_on_hint(process: Process, ids: Sequence[UUID]) -> str:
    """What to type to get these unfinished jobs drawn after all."""
    verb = "wait" if process.has_broker else "resume"
    if len(ids) > _MOST_IDS_NAMED:
        return f"imagen jobs {verb} --all"
    return f"go on with: imagen jobs {verb} {' '.join(map(str, ids))}"
