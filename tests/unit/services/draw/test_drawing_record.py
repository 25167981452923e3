"""The record of an attempt: made once, at the drawing, and told by everything afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from imagen.domain.drawing_record import Requested
from imagen.domain.job import JobState, record_of
from imagen.errors import SecretOption
from imagen.ledger.store.tables import attempts
from imagen.services.report.job_view import view_job

ASKED = Requested(1920, 1080, None, "text", ("the size was rounded",))


def write_attempt(studio: Any, **values: Any) -> None:
    """Change the only attempt behind the program's back."""
    with studio.desk.ledger.write() as connection:
        connection.execute(update(attempts).values(**values))


def test_another_hosts_results_worker_tells_what_the_drawing_one_recorded(studio: Any) -> None:
    job_id = studio.desk.submit(requested=ASKED)
    studio.backend.script = [
        lambda request, _run: replace(
            studio.backend.picture(request),
            **{"model": "other", "seed": None, "negative": "", "warnings": ("dim",)},
        )
    ]
    studio.draw("gpu host")

    studio.deliver("results host")

    told = studio.sidecar("fox.png.json")
    assert (told["model"], told["seed"], told["negative"]) == ("other", None, "")
    assert (told["width"], told["height"], told["requested_size"]) == (64, 64, "1920x1080")
    assert told["warnings"] == ["the size was rounded", "dim"]
    facts = view_job(studio.desk.ledger, studio.desk.job(job_id)).to_json()
    assert {key: facts[key] for key in told if key in facts} == {
        key: told[key] for key in told if key in facts
    }


def test_a_sentence_that_submission_told_already_is_recorded_once(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit(requested=ASKED)
    sqlite_studio.backend.script = [
        lambda request, _run: replace(
            sqlite_studio.backend.picture(request), warnings=ASKED.warnings
        )
    ]

    sqlite_studio.draw()

    [attempt] = sqlite_studio.desk.attempts(job_id)
    assert attempt.record.warnings == ASKED.warnings


def test_a_job_of_an_older_version_tells_what_is_known_of_it(studio: Any) -> None:
    job_id = studio.desk.submit(request=studio.desk.request(negative="text", steps=9))
    studio.draw()
    write_attempt(studio, record=None)
    studio.deliver()

    facts = view_job(studio.desk.ledger, studio.desk.job(job_id)).to_json()

    assert (facts["width"], facts["height"], facts["requested_size"]) == (64, 64, "64x64")
    assert (facts["seed"], facts["negative"], facts["warnings"]) == (7, "text", [])
    assert (facts["model"], facts["steps"]) == ("landscape", 4)
    assert studio.sidecar("fox.png.json")["requested_size"] == "64x64"


def test_a_job_that_is_not_drawn_yet_tells_what_is_going_to_be(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit(requested=ASKED)

    record = record_of(sqlite_studio.desk.job(job_id), None)

    assert (record.width, record.height, record.model) == (64, 64, None)
    assert record.requested == ASKED
    assert record.warnings == ASKED.warnings


def test_bytes_that_are_no_image_are_recorded_by_the_request(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit()
    sqlite_studio.backend.script = [
        lambda request, _run: replace(sqlite_studio.backend.picture(request), data=b"no image")
    ]

    sqlite_studio.draw()

    [attempt] = sqlite_studio.desk.attempts(job_id)
    assert (attempt.record.width, attempt.record.height) == (64, 64)


def submit_and_die(studio: Any) -> Any:
    """One worker sends the job and dies; the job goes back to the queue."""
    job_id = studio.desk.submit()

    def die(_request: Any, run: Any) -> None:
        if not studio.backend.repeat_is_free:
            run.intend(timeout_s=1)
        run.submitted("there-1", place="server")
        raise SystemExit

    studio.backend.script = [die]
    with pytest.raises(SystemExit):
        studio.draw("dead")
    studio.desk.crash(studio.desk.job_claim(job_id))
    return job_id


@pytest.mark.parametrize("free", [True, False], ids=["free", "paid"])
def test_an_attempt_took_as_long_as_all_its_workers_together(studio: Any, free: bool) -> None:
    studio.backend.repeat_is_free = free
    job_id = submit_and_die(studio)
    be_an_hour_earlier(studio, "submitted_at" if free else "intended_at")
    studio.backend.script = [lambda _request, _run: studio.clock.sleep(2.0)]

    studio.draw("two")

    [attempt] = studio.desk.attempts(job_id)
    assert 3602 <= attempt.latency_ms / 1000 < 3700


def be_an_hour_earlier(studio: Any, column: str) -> None:
    """Move a time of the only attempt."""
    with studio.desk.ledger.read() as connection:
        at = connection.scalar(select(attempts.c[column]))
    write_attempt(studio, **{column: at - timedelta(hours=1)})


def test_an_attempt_that_one_worker_drew_took_what_that_took(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit()
    sqlite_studio.backend.script = [lambda _request, _run: sqlite_studio.clock.sleep(2.0)]

    sqlite_studio.draw()

    assert sqlite_studio.desk.attempts(job_id)[0].latency_ms == 2000


def test_the_value_of_an_option_that_turns_out_to_be_a_secret_is_not_kept(studio: Any) -> None:
    options = {"licence": "sk-1", "texture": "0.5"}
    job_id = studio.desk.submit(request=studio.desk.request(options=options))
    studio.backend.script = [SecretOption("it is a secret", "configure it", ("licence",))]

    outcome = studio.draw()

    assert outcome.state is JobState.FAILED
    job = studio.desk.job(job_id)
    assert job.error_code == "secret_option"
    assert job.request.options == {"licence": "(set)", "texture": "0.5"}


def test_secrets_that_an_older_version_accepted_are_told_no_more(sqlite_studio: Any) -> None:
    sqlite_studio.desk.submit(request=sqlite_studio.desk.request(options={"hf_token": "sk-1"}))

    sqlite_studio.draw()
    sqlite_studio.deliver()

    assert sqlite_studio.sidecar("fox.png.json")["options"] == {"hf_token": "(set)"}
    image = (sqlite_studio.desk.folder / "fox.png").read_bytes()
    assert b"sk-1" not in image
