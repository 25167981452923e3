"""The outcome of a batch in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from imagen.cli.screen.durations import brief
from imagen.domain.printable import printable, printable_line
from imagen.errors import GaveUpWaiting, ImagenError
from imagen.services.report.batch_outcome import BatchOutcome, RowFailure


def summary_line(outcome: BatchOutcome) -> str:
    """One line, such as ``1,632 prompts: 1,600 drawn in 41 s, 32 there already; in /pics``."""
    total, drawn = outcome.total, outcome.drawn
    if outcome.done_before == total:
        images = "1 image is" if total == 1 else f"{total:,} images are"
        return f"nothing to do: {images} there already"
    parts = []
    if drawn or not outcome.done_before:
        rate = f" ({drawn / outcome.seconds:.3g}/s)" if outcome.seconds > 1 else ""
        parts.append(f"{drawn:,} drawn in {brief(outcome.seconds)}{rate}")
    for number, what in (
        (outcome.done_before, "there already"),
        (outcome.failed, "failed"),
        (outcome.failed_before, "failed before, left alone"),
        (outcome.left, "not drawn yet"),
    ):
        if number:
            parts.append(f"{number:,} {what}")
    prompts = "1 prompt" if total == 1 else f"{total:,} prompts"
    return f"{prompts}: {', '.join(parts)}; in {printable(str(outcome.output_folder))}"


def failure_lines(outcome: BatchOutcome) -> list[str]:
    """The listed rows, those with the same reason together, and how many there are besides."""
    by_reason: dict[str, list[RowFailure]] = {}
    for each in outcome.failures:
        by_reason.setdefault(each.message, []).append(each)
    lines = [f"  {_lines(rows)}: {printable_line(reason)}" for reason, rows in by_reason.items()]
    unlisted = outcome.without_image - len(outcome.failures)
    return [*lines, f"  … and {unlisted:,} more"] if unlisted > 0 else lines


def batch_error(outcome: BatchOutcome, how_to_go_on: str) -> ImagenError | None:
    """Why the command does not end with 0; None where it does."""
    if outcome.left:
        return GaveUpWaiting(
            f"gave up waiting: {outcome.left:,} of {outcome.total:,} are not drawn yet",
            how_to_go_on,
        )
    if not outcome.without_image:
        return None
    return ImagenError(
        f"{outcome.without_image:,} of {outcome.total:,} could not be drawn",
        f"imagen jobs ls --batch {shlex.quote(outcome.name)} --state failed\n"
        "draw them again: the same command with --retry-failed",
    )


def _lines(failures: Sequence[RowFailure]) -> str:
    """``line 7``, ``lines 7, 12, 40``; jobs whose line is gone by their ids."""
    numbers = [str(each.line) for each in failures if each.line]
    ids = [str(each.job_id) for each in failures if not each.line]
    parts = []
    if numbers:
        parts.append(f"line{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}")
    if ids:
        parts.append(f"job{'s' if len(ids) > 1 else ''} {', '.join(ids)}")
    return "; ".join(parts)
