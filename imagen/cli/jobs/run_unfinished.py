"""Drawing jobs that are in the ledger already: a few by id, or as many as there are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from imagen.cli.draw.running import (
    Watch,
    count_here,
    go_on_hint,
    path_printer,
    run_jobs,
    tell_warnings,
)
from imagen.cli.jobs.answers import answer_count, answer_jobs
from imagen.cli.money.outgoing import tell_outgoing
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.progress import Count, Meter
from imagen.cli.screen.streams import OutputFailed
from imagen.cli.shell import Shell
from imagen.domain.scope import Scope
from imagen.ledger.queries.batches import count_warnings, ledger_time
from imagen.ledger.queries.jobs import count_states

if TYPE_CHECKING:
    from imagen.wiring.bootstrap import Imagen


def draw_named(
    shell: Shell, imagen: Imagen, ids: Sequence[UUID], *, timeout_s: float | None
) -> None:
    """Draw these jobs; prints their paths in this order, or raises ``Failed``."""
    hint = go_on_hint(imagen, ids)
    shell.interrupt.how_to_go_on = hint
    scope = Scope(job_ids=tuple(ids))
    watch = Watch(shell)
    progress = _Progress(imagen, [scope])
    if progress.unfinished:
        with Meter(
            shell.screen,
            total=progress.unfinished,
            count=progress.count,
            phase=watch.phases.common,
        ):
            run_jobs(shell, imagen, scope, watch=watch, timeout_s=timeout_s)
        tell_outgoing(shell, imagen, scope)
    answer_jobs(shell, imagen, ids, errors=watch.errors, hint=hint)


def draw_many(
    shell: Shell, imagen: Imagen, scopes: Sequence[Scope], *, timeout_s: float | None
) -> None:
    """Draw everything unfinished of the scopes, one after the other.

    Prints paths as they come.

    Raises:
        Failed: some failed, or the time was over.
    """
    began_s = time.monotonic()
    progress = _Progress(imagen, scopes)
    if not progress.unfinished:
        shell.screen.say("nothing to draw")
        answer_count(shell, Count(0, 0), warnings={}, left=0, seconds=0.0, hint="")
        return
    shell.interrupt.how_to_go_on = "go on with: imagen jobs resume --all"
    watch = Watch(shell, on_path=None if shell.wants_json else path_printer(shell))
    began_at = ledger_time(imagen.ledger)
    try:
        with Meter(
            shell.screen,
            total=progress.unfinished,
            count=progress.count,
            phase=watch.phases.common,
        ):
            for scope in scopes:
                spent_s = time.monotonic() - began_s
                left_s = None if timeout_s is None else max(0.0, timeout_s - spent_s)
                run_jobs(shell, imagen, scope, watch=watch, timeout_s=left_s)
    except (Interrupted, OutputFailed):
        shell.screen.say(progress.line())
        raise
    warnings = sum(
        (count_warnings(imagen.ledger, scope, finished_since=began_at) for scope in scopes),
        Counter[str](),
    )
    tell_warnings(shell, warnings)
    shell.screen.say(progress.line())
    count = progress.count()
    answer_count(
        shell,
        count,
        warnings=warnings,
        left=progress.unfinished - count.over,
        seconds=time.monotonic() - began_s,
        hint=shell.interrupt.how_to_go_on,
    )


class _Progress:
    """How far these scopes have come since this was made."""

    def __init__(self, imagen: Imagen, scopes: Sequence[Scope]) -> None:
        self._imagen = imagen
        self._scopes = scopes
        self._before = self._over()
        states = [count_states(imagen.ledger, scope) for scope in scopes]
        self.unfinished = sum(
            number for each in states for state, number in each.items() if not state.is_terminal
        )

    def count(self) -> Count:
        now = self._over()
        before = self._before
        return Count(
            now.drawn - before.drawn, now.failed - before.failed, now.canceled - before.canceled
        )

    def line(self) -> str:
        count = self.count()
        drawn = f"{count.drawn:,} of {self.unfinished:,} drawn"
        return ", ".join(filter(None, [drawn, count.without_image]))

    def _over(self) -> Count:
        counts = [count_here(self._imagen, scope) for scope in self._scopes]
        return Count(
            sum(each.drawn for each in counts),
            sum(each.failed for each in counts),
            sum(each.canceled for each in counts),
        )
