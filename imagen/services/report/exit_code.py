"""The exit code of a command about several jobs, which no single error stands for."""

from __future__ import annotations

from imagen.errors import GaveUpWaiting

#: Some of the jobs have failed or were canceled.
SOME_FAILED = 4


def exit_code_of(*, unfinished: int, without_image: int) -> int:
    """0 when every job has its image, 6 when some are unfinished, 4 when some have failed."""
    if unfinished:
        return GaveUpWaiting.exit_code
    return SOME_FAILED if without_image else 0
