"""Progress of a run: a live line on a terminal, elsewhere a plain line every five seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imagen.cli.screen.durations import brief
from imagen.cli.screen.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from imagen.services.report.job_counts import JobCounts

_LOOK_EVERY_S = 0.5
_LINE_EVERY_S = 5.0
_SAY_PHASE_AFTER_S = 10.0


def without_image(counts: JobCounts) -> str:
    """``3 failed, 2 canceled``; "" when no job ended without an image."""
    parts = [(counts.failed, "failed"), (counts.canceled, "canceled")]
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


class StepDisplay(Protocol):
    """Shows the progress events of a job; called from any thread."""

    def step(self, done: int, total: int, *, phase: str = "") -> None: ...


class PlainSteps:
    """Writes each phase that lasts, once, and no steps."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._phase = ""
        self._since_s = 0.0
        self._is_said = False

    def step(self, done: int, total: int, *, phase: str = "") -> None:  # noqa: ARG002
        now_s = time.monotonic()
        if phase != self._phase:
            self._phase, self._since_s, self._is_said = phase, now_s, False
        elif phase and not self._is_said and now_s - self._since_s >= _SAY_PHASE_AFTER_S:
            self._is_said = True
            self._screen.say(phase)


@contextmanager
def one_job(screen: Screen, title: str) -> Iterator[StepDisplay]:
    """Shows the steps of one job on a terminal, until it ends; elsewhere phases that last."""
    if not screen.is_terminal:
        yield PlainSteps(screen)
        return
    # 60 ms to import: only for a terminal.
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24, complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
    )
    with _live(screen, *columns) as progress:
        yield _Steps(progress, progress.add_task(title, total=None, steps=""))


@dataclass(frozen=True)
class _Steps:
    progress: Progress
    task: TaskID

    def step(self, done: int, total: int, *, phase: str = "") -> None:
        steps = phase or (f"{done}/{total} steps" if done else "")
        self.progress.update(self.task, completed=done, total=total or None, steps=steps)


@contextmanager
def meter(
    screen: Screen,
    *,
    total: int,
    count: Callable[[], JobCounts],
    phase: Callable[[], str] = lambda: "",
) -> Iterator[None]:
    """Shows, while the block runs, how many of ``total`` jobs are over.

    ``count`` counts them in the ledger, which knows what other processes did, too. ``phase`` says
    what the jobs do while none of them makes a step.
    """
    is_over = threading.Event()
    show = _show_live if screen.is_terminal else _show_plain
    counts = _counts(count, is_over, every_s=_LOOK_EVERY_S if screen.is_terminal else _LINE_EVERY_S)
    arguments = (screen, total, counts, phase)
    thread = threading.Thread(target=show, args=arguments, name="imagen-meter", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _show_live(
    screen: Screen, total: int, counts: Iterator[JobCounts], phase: Callable[[], str]
) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("drawing"),
        BarColumn(32, complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("left", style="dim"),
        TextColumn("{task.fields[phase]}", style="dim", markup=False),
    )
    with _live(screen, *columns) as progress:
        task = progress.add_task("drawing", total=total, failed="", phase="")
        for each in counts:
            told = f"({text})" if (text := phase()) else ""
            progress.update(task, completed=each.over, failed=without_image(each), phase=told)


def _show_plain(
    screen: Screen, total: int, counts: Iterator[JobCounts], phase: Callable[[], str]
) -> None:
    began_s = time.monotonic()
    first = next(counts, None)
    before = first.over if first else 0
    for each in counts:
        spent_s = time.monotonic() - began_s
        line = progress_line(each, total, before=before, spent_s=spent_s)
        screen.say(", ".join(filter(None, [line, phase()])))


def _counts(
    count: Callable[[], JobCounts], is_over: threading.Event, *, every_s: float
) -> Iterator[JobCounts]:
    """A count every ``every_s`` seconds, and less often when counting takes long."""
    while True:
        asked_s = time.monotonic()
        try:
            counted = count()
        except Exception:
            # The run meets the same error and reports it.
            return
        took_s = time.monotonic() - asked_s
        yield counted
        if is_over.wait(max(every_s, 10 * took_s)):
            return


def progress_line(counts: JobCounts, total: int, *, before: int, spent_s: float) -> str:
    """``512 of 1,632 drawn, 3 failed, 4.1/s, about 4 min 33 s left``."""
    parts = [f"{counts.drawn:,} of {total:,} drawn"]
    if failures := without_image(counts):
        parts.append(failures)
    rate = (counts.over - before) / spent_s if spent_s > 0 else 0.0
    if rate > 0:
        parts.append(f"{rate:.3g}/s")
        parts.append(f"about {brief((total - counts.over) / rate)} left")
    return ", ".join(parts)


@contextmanager
def _live(screen: Screen, *columns: object) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

    console = Console(file=screen.err)
    progress = Progress(*columns, console=console, transient=True)  # type: ignore[arg-type]  # rich's type is imported by the callers

    def above(text: str) -> None:
        progress.console.print(Text.from_ansi(text), soft_wrap=True)

    with progress:
        screen.above_display = above
        try:
            yield progress
        finally:
            screen.above_display = None
