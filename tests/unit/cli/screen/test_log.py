"""Where log records go, and what they look like."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from imagen.cli.screen.log import set_up_logging
from imagen.cli.screen.screen import Screen
from imagen.cli.shell import Shell

log = logging.getLogger("imagen.test")


@pytest.fixture(autouse=True)
def clean_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("imagen")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def _shell(**env: str) -> Shell:
    return Shell(env, Screen(io.StringIO(), io.StringIO(), env))


def _said(shell: Shell) -> str:
    assert isinstance(shell.screen.err, io.StringIO)
    return shell.screen.err.getvalue()


def test_a_command_is_quiet_below_warning():
    shell = _shell()
    set_up_logging(shell)
    log.info("job_claimed")
    log.warning("jobs_taken_back", extra={"jobs": 3})

    assert _said(shell) == "warning: jobs_taken_back jobs=3\n"


def test_the_environment_chooses_the_level():
    shell = _shell(IMAGEN_LOG="DEBUG")
    set_up_logging(shell)
    log.debug("looked")

    assert "looked" in _said(shell)


def test_a_worker_writes_json_lines_where_nobody_watches():
    shell = _shell()
    set_up_logging(shell, usual="info", for_journal=True)
    log.info("job_claimed", extra={"job_id": "x"})
    line = json.loads(_said(shell))

    assert (line["event"], line["level"], line["job_id"]) == ("job_claimed", "info", "x")


def test_a_traceback_is_only_for_those_who_ask():
    quiet, curious = _shell(), _shell(IMAGEN_DEBUG="1")
    for shell in (quiet, curious):
        set_up_logging(shell)
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("thread_failed")

    assert "Traceback" not in _said(quiet)
    assert "Traceback" in _said(curious)


def test_a_second_set_up_does_not_write_everything_twice():
    first, second = _shell(), _shell()
    set_up_logging(first)
    set_up_logging(second)
    log.warning("once")

    assert (_said(first), _said(second)) == ("", "warning: once\n")


def test_what_threads_say_after_the_end_is_of_no_interest():
    shell = _shell()
    set_up_logging(shell)
    shell.is_over = True
    log.warning("lease_lost")
    log.error("real_trouble")

    assert _said(shell) == "error: real_trouble\n"
