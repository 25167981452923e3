"""Waits for a condition with a deadline, as every test here does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], *, what: str, timeout_s: float = 30.0) -> None:
    """Block until ``condition`` is true.

    Raises:
        AssertionError: it is not after ``timeout_s`` seconds; the message holds ``what``.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not so after {timeout_s:g} s: {what}"
        time.sleep(0.02)
