"""Waits for a condition with a deadline, as every test here does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], object], *, what: str, timeout_s: float = 30.0) -> None:
    """Block until ``condition`` is true.

    Raises:
        AssertionError: it is not after ``timeout_s`` seconds; the message holds ``what``.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not so after {timeout_s:g} s: {what}"
        time.sleep(0.02)


def wait_for(look: Callable[[], T], *, what: str, timeout_s: float = 60.0) -> T:
    """What ``look`` returns, as soon as that is true.

    Raises:
        AssertionError: it is not after ``timeout_s`` seconds; the message holds ``what``.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.05)
    return found
