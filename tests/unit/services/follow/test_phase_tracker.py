"""What jobs do while none of them makes a step."""

from __future__ import annotations

from uuid import UUID

from imagen.services.follow.phase_tracker import PhaseTracker

ONE, TWO = UUID(int=1), UUID(int=2)


def told(phase: str = "", *, done: int = 0) -> dict[str, object]:
    return {"event": "progress", "done": done, "total": 30, "phase": phase}


def test_jobs_that_all_wait_are_told_by_the_first_ones_phase():
    phases = PhaseTracker()
    phases.note_event(ONE, told("waiting behind 2 others"))
    phases.note_event(TWO, told("waiting behind 3 others"))

    assert phases.common_phase() == "waiting behind 2 others"


def test_one_job_that_makes_steps_is_enough_to_say_nothing():
    phases = PhaseTracker()
    phases.note_event(ONE, {"event": "progress", "done": 3, "total": 30})
    phases.note_event(TWO, told("waiting behind 1 other"))

    assert phases.common_phase() == ""


def test_a_job_that_ended_is_waited_for_no_more():
    phases = PhaseTracker()
    phases.note_event(ONE, {"event": "progress", "done": 3, "total": 30})
    phases.note_event(TWO, told("loading flux1-dev"))
    phases.note_event(ONE, {"event": "generated"})

    assert phases.common_phase() == "loading flux1-dev"
    phases.drop(TWO)
    assert phases.common_phase() == ""


def test_a_phase_cannot_move_the_cursor():
    assert PhaseTracker().note_event(ONE, told("load\033[2Jing\nx")) == "load\\x1b[2Jing x"
