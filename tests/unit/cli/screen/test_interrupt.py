"""Ctrl-C: where it is noticed, and what becomes of the command."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from imagen.cli.screen.interrupt import Interrupt, Interrupted


def test_a_signal_leaves_a_command_that_runs_nothing():
    interrupt = Interrupt()

    def command() -> None:
        with interrupt.watching():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(30)

    with pytest.raises(Interrupted) as caught:
        command()

    assert caught.value.exit_code == 143


def test_a_signal_stops_what_runs_and_lets_it_end_by_itself():
    interrupt, stopped, ended = Interrupt(), threading.Event(), []

    def command() -> None:
        with interrupt.watching(), interrupt.stopping(stopped.set):
            os.kill(os.getpid(), signal.SIGINT)
            assert stopped.wait(30)
            ended.append("by itself")

    with pytest.raises(Interrupted) as caught:
        command()

    assert caught.value.exit_code == 130
    assert ended == ["by itself"]


def test_nothing_begins_after_a_signal():
    interrupt = Interrupt(signum=signal.SIGINT)
    with pytest.raises(Interrupted), interrupt.stopping(lambda: None):
        pytest.fail("it began")


def test_the_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt().watching():
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before
