"""A door other than the command line: several callers in one process, through services alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.scope import Scope
from imagen.domain.style import Style
from imagen.errors import RequestError
from imagen.services.control.cancel_jobs import cancel_by_workers
from imagen.services.control.select_jobs import JobSelector, select_jobs
from imagen.services.follow.wait_for_jobs import wait_for_jobs
from imagen.services.report.job_view import view_jobs
from imagen.services.submit.delivery_folders import own_folders
from imagen.services.submit.resolve import RequestInput, SubmitContext
from imagen.services.submit.submit_request import accept_job, prepare_job
from imagen.services.submit.wakeups import wake_workers


@dataclass(frozen=True)
class Door:
    """Answers the requests of one caller, who may write to one folder."""

    studio: Any
    caller: str
    folder: Path

    def submit(self, prompt: str, *, folder: Path | None = None) -> dict[str, Any]:
        context = SubmitContext(
            default_backend="mock",
            style_of=Style,
            output_folder=folder or self.folder,
            naming="{slug}.{ext}",
            format="png",
            sidecar=True,
            metadata="full",
            caller=self.caller,
            delivery_host="here",
        )
        request_input = RequestInput(prompt, size="64x64")
        folders = own_folders([self.folder])
        draft = prepare_job(
            request_input, context, self.studio.backends, folders, now=datetime.now(UTC)
        )
        accepted = accept_job(self.studio.desk.ledger, draft)
        wake_workers(self.studio.publisher, [draft])
        return accepted.to_json()

    def cancel(self, job_id: str) -> dict[str, Any]:
        ledger = self.studio.desk.ledger
        selected = select_jobs(ledger, JobSelector((job_id,)))
        return cancel_by_workers(ledger, self.studio.publisher, selected).to_json()

    def answer(self, *job_ids: str) -> list[dict[str, Any]]:
        """The jobs by the keys of ``--json``, once all of them have ended."""
        ledger = self.studio.desk.ledger
        named = select_jobs(ledger, JobSelector(job_ids)).named
        ids = tuple(job.id for job in named)
        assert wait_for_jobs(
            ledger, Scope(job_ids=ids), stop=threading.Event(), timeout_s=60, lease_s=30
        )
        return [view.to_json() for view in view_jobs(ledger, ids)]


@pytest.fixture
def working(studio: Any) -> Iterator[threading.Event]:
    """A worker that draws and delivers from when this is set until the end of the test."""
    may_begin, is_over = threading.Event(), threading.Event()

    def work() -> None:
        may_begin.wait()
        while not is_over.wait(0.01):
            studio.draw()
            studio.deliver()

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        yield may_begin
        is_over.set()
        may_begin.set()
        worker.result()


def test_two_callers_at_once_submit_follow_cancel_and_get_their_own_answers(
    studio: Any, working: threading.Event, tmp_path: Path
) -> None:
    begun = threading.Barrier(2, action=working.set)

    def use(door: Door, other: Door) -> list[dict[str, Any]]:
        kept, dropped = door.submit(f"{door.caller} fox"), door.submit("a mistake")
        assert kept["state"] == "queued"
        with pytest.raises(RequestError, match="outside"):
            door.submit("a fox", folder=other.folder)
        [canceled] = door.cancel(dropped["id"])["jobs"]
        assert canceled == {"id": dropped["id"], "state": "canceled"}
        begun.wait()
        return door.answer(kept["id"], dropped["id"])

    red, blue = (Door(studio, caller, tmp_path / caller) for caller in ("red", "blue"))
    with ThreadPoolExecutor(2) as callers:
        answers = list(callers.map(use, (red, blue), (blue, red)))

    for door, (drawn, dropped) in zip((red, blue), answers, strict=True):
        assert (drawn["state"], drawn["error"]) == ("succeeded", None)
        [job] = select_jobs(studio.desk.ledger, JobSelector((drawn["id"],))).named
        assert job.caller == door.caller
        assert drawn["path"] == str(door.folder / f"{door.caller}-fox.png")
        assert Path(drawn["path"]).is_file()
        assert (dropped["path"], dropped["error"]["code"]) == (None, "canceled")
