"""How far the drawing is, for terminals and for files."""

from __future__ import annotations

import io
import threading

from imagen.cli.screen.progress import meter, one_job, progress_line
from imagen.cli.screen.screen import Screen
from imagen.services.report.job_counts import JobCounts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_plain_line_tells_done_failed_rate_and_time_left():
    line = progress_line(JobCounts(500, 12), 1632, before=112, spent_s=100)

    assert line == "500 of 1,632 drawn, 12 failed, 4/s, about 4 min 40 s left"


def test_a_plain_line_promises_nothing_before_anything_is_drawn():
    assert progress_line(JobCounts(0, 0), 10, before=0, spent_s=5) == "0 of 10 drawn"


def test_canceled_jobs_are_counted_apart_from_failed_ones():
    count = JobCounts(5, 2, 3)

    assert count.over == 10
    assert progress_line(count, 10, before=10, spent_s=5) == "5 of 10 drawn, 2 failed, 3 canceled"


def test_a_file_gets_no_control_characters():
    err = io.StringIO()
    with meter(Screen(io.StringIO(), err, {}), total=3, count=lambda: JobCounts(1, 0)):
        pass

    assert err.getvalue() == ""


def test_a_terminal_sees_how_far_it_is_and_gets_its_line_back():
    err = Terminal()
    asked = threading.Event()

    def count() -> JobCounts:
        asked.set()
        return JobCounts(2, 1)

    screen = Screen(Terminal(), err, {"TERM": "xterm"})
    with meter(screen, total=4, count=count):
        assert asked.wait(10)
    screen.say("over")

    assert "1 failed" in err.getvalue()
    assert err.getvalue().endswith("over\n")
    assert screen.above_display is None


def test_a_meter_ends_quietly_where_the_ledger_cannot_be_asked():
    def count() -> JobCounts:
        raise OSError("gone")

    with meter(Screen(io.StringIO(), Terminal(), {}), total=4, count=count):
        pass


def test_what_goes_on_before_the_first_step_is_shown_in_place_of_no_step():
    err = Terminal()
    with one_job(Screen(Terminal(), err, {}), "drawing with gpu") as steps:
        steps.step(0, 30)
        steps.step(0, 30, phase="waiting behind 2 others")

    assert "waiting behind 2 others" in err.getvalue()
    assert "0/30" not in err.getvalue()


def test_a_phase_that_lasts_is_said_once_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr("imagen.cli.screen.progress._SAY_PHASE_AFTER_S", 0.0)
    err = io.StringIO()
    with one_job(Screen(io.StringIO(), err, {}), "drawing with gpu") as steps:
        for _ in range(4):
            steps.step(0, 30, phase="loading flux1-dev")
        steps.step(1, 30)

    assert err.getvalue() == "loading flux1-dev\n"


def test_a_batch_shows_what_all_its_jobs_wait_for():
    err = Terminal()
    asked = threading.Event()

    def phase() -> str:
        asked.set()
        return "loading flux1-dev"

    screen = Screen(Terminal(), err, {"TERM": "xterm", "COLUMNS": "120"})
    with meter(screen, total=4, count=lambda: JobCounts(0, 0), phase=phase):
        assert asked.wait(10)

    assert "loading flux1-dev" in err.getvalue()


def test_steps_of_one_job_are_shown_on_a_terminal_only():
    err, plain = Terminal(), io.StringIO()
    with one_job(Screen(Terminal(), err, {}), "drawing with mock") as steps:
        steps.step(3, 4)
    with one_job(Screen(plain, plain, {}), "drawing with mock") as steps:
        steps.step(3, 4)

    assert "drawing with mock" in err.getvalue()
    assert plain.getvalue() == ""
