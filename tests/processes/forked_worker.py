"""Runs a worker in a forked process that ends at a kill point or has a wrong clock."""

from __future__ import annotations

import ctypes
import datetime
import faulthandler
import functools
import importlib
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

#: ``before imagen.module:name 3``: end before the third call, or before the first later one that
#: is reached.
DIE_AT = "IMAGEN_CHAOS_DIE_AT"
#: How many seconds the clock of this process is ahead.
SKEW_S = "IMAGEN_CHAOS_SKEW_S"

_PR_SET_PDEATHSIG = 1
_skew_s = 0.0


def run_worker(role: str) -> None:
    """Run the worker of that role, as ``python -m workers.ROLE`` does; blocks until it ends."""
    global _skew_s
    _skew_s = float(os.environ.get(SKEW_S, "0"))
    if die_at := os.environ.get(DIE_AT):
        side, target, number = die_at.split()
        _die_at(target, side=side, number=int(number))
    # At SIGUSR2 the stack of every thread is written to the log; SIGUSR1 is Celery's.
    faulthandler.register(signal.SIGUSR2)
    sys.argv = [f"workers/{role}.py"]
    runpy.run_module(f"workers.{role}", run_name="__main__")


def die_with_parent() -> None:
    """Have this process killed when its parent ends, however that happens; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(target: str, *, side: str, number: int) -> None:
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0
    lock = threading.Lock()

    @functools.wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            # Later calls as well: this one may raise instead of returning.
            is_last = calls >= number
        if is_last and side == "before":
            _die()
        result = original(*args, **kwargs)
        if is_last:
            _die()
        return result

    setattr(owner, name, deadly)


def make_clock_adjustable() -> None:
    """Shift the wall clock of this process by SKEW_S; monotonic clocks stay as they are.

    To be called before anything else is imported: most modules import `datetime` by its name.
    """
    true_time, true_time_ns = time.time, time.time_ns
    true_datetime = datetime.datetime

    class _Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, true_datetime)

    class Adjustable(true_datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return true_datetime.now(tz) + datetime.timedelta(seconds=_skew_s)

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return cls.now(datetime.UTC).replace(tzinfo=None)

    time.time = lambda: true_time() + _skew_s
    time.time_ns = lambda: true_time_ns() + int(_skew_s * 1e9)
    datetime.datetime = Adjustable  # type: ignore[misc]
