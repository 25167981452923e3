"""What a command hears of its jobs while they are drawn."""

from __future__ import annotations

import io
from collections import Counter
from uuid import uuid4

from imagen.cli.draw.job_messages import JobMessages, tell_warnings
from imagen.cli.screen.screen import Screen
from imagen.domain.job import AttemptDisposition, JobState
from imagen.errors import BackendRejected, RateLimited
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.retry_policy import Retry


def _messages() -> tuple[JobMessages, io.StringIO]:
    err = io.StringIO()
    return JobMessages(Screen(io.StringIO(), err, {})), err


def _put_off(message: str) -> ClaimOutcome:
    retry = Retry(2.0, AttemptDisposition.REWIND)
    return ClaimOutcome(uuid4(), JobState.QUEUED, error=RateLimited(message), retry=retry)


def test_many_jobs_that_wait_for_the_same_thing_are_one_line():
    messages, err = _messages()
    for _ in range(100):
        messages.on_outcome(_put_off("too many calls"))
    messages.on_outcome(_put_off("something else"))

    assert err.getvalue() == (
        "retrying in 2.0 s: too many calls\nretrying in 2.0 s: something else\n"
    )


def test_the_error_of_a_failed_job_is_kept_with_its_hint():
    messages, _ = _messages()
    error = BackendRejected("no such size", "ask for another")
    job_id = uuid4()
    messages.on_outcome(ClaimOutcome(job_id, JobState.FAILED, error=error))

    assert messages.errors[job_id].hint == "ask for another"


def test_an_endless_row_of_failures_does_not_fill_the_memory():
    messages, _ = _messages()
    for _ in range(1000):
        messages.on_outcome(ClaimOutcome(uuid4(), JobState.FAILED, error=BackendRejected("no")))

    assert len(messages.errors) <= 100


def test_a_warning_about_many_images_is_told_once_with_their_number():
    messages, err = _messages()
    messages.on_event(uuid4(), {"event": "unheard of"})
    tell_warnings(messages.screen, Counter({"the size was rounded": 1200}))

    assert err.getvalue() == "warning: the size was rounded (1,200 images)\n"


def test_a_missing_worker_is_named_with_the_command_that_starts_it():
    messages, err = _messages()
    messages.on_missing_worker("cloud")

    assert "imagen worker cloud" in err.getvalue()


def test_what_a_worker_elsewhere_puts_off_is_told_like_what_is_put_off_here():
    messages, err = _messages()
    messages.on_event(uuid4(), {"event": "retry", "wait_s": 2.0, "why": "too many calls"})
    messages.on_outcome(_put_off("too many calls"))

    assert err.getvalue() == "retrying in 2.0 s: too many calls\n"


def test_a_pause_is_told_with_its_reason_and_the_way_out_of_it():
    messages, err = _messages()
    messages.on_pause("gpu-box", "ComfyUI at http://gpu:8188 is stuck; restart it")

    assert "is stuck; restart it" in err.getvalue()
    assert "imagen backends resume gpu-box" in err.getvalue()
