"""A batch may be run again and again: only what is missing is added."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState, Lane
from imagen.errors import RequestError
from imagen.ledger.jobs.fenced_writes import Ending, record_failed
from imagen.ledger.queries.batches import count_warnings
from imagen.services.submit import submit_batch as batch_module
from imagen.services.submit.prompt_file import PromptLine
from imagen.services.submit.resolve import RequestInput, SubmitContext
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun, SubmittedBatch

NOW = datetime(2026, 9, 6, 14, 3, 5)  # noqa: DTZ001  (the submitting shell's local time)


class Room:
    """Where batches are run."""

    def __init__(self, studio: Any) -> None:
        self.studio = studio
        self.desk = studio.desk
        self.context = SubmitContext(
            default_backend="mock",
            style_of=lambda _name: None,  # type: ignore[arg-type,return-value]
            output_folder=Path("/pictures"),
            naming="{n}-{slug}.{ext}",
            format="png",
            sidecar=True,
            metadata="full",
            caller="tests",
            delivery_host="here",
        )

    def run(
        self, prompts: Iterable[str], *, key: str = "prompts.txt", retry: bool = False, **asked: Any
    ) -> SubmittedBatch:
        run = BatchRun(
            self.desk.ledger,
            self.context,
            self.studio.backends,
            RequestInput("", **asked),
            NOW,
            retry_failed=retry,
        )
        return run.submit(lines(prompts), BatchIdentity(key, key))

    def prompts(self, scope: Any = None) -> list[str]:
        """What could be drawn, in order of claiming."""
        found = []
        options = {"scope": scope} if scope else {}
        while (claim := self.desk.claim(**options)) is not None:
            found.append(claim.job.request.prompt)
        return found


def lines(prompts: Iterable[str]) -> Iterator[PromptLine]:
    for position, prompt in enumerate(prompts, 1):
        yield PromptLine(2 * position, position, prompt)


@pytest.fixture
def room(studio: Any) -> Room:
    return Room(studio)


@pytest.fixture
def sqlite_room(sqlite_studio: Any) -> Room:
    return Room(sqlite_studio)


def counts(submitted: SubmittedBatch) -> tuple[int, int, int, int]:
    """Total, added, unfinished, done."""
    return (submitted.total, submitted.added, submitted.unfinished, submitted.done)


def test_every_row_of_a_new_file_is_accepted_in_its_order(room: Room) -> None:
    submitted = room.run(["a", "b", "c"])

    assert counts(submitted) == (3, 3, 0, 0)
    assert submitted.to_draw == 3
    assert submitted.batch.run == 1
    assert room.prompts(submitted.scope) == ["a", "b", "c"]


def test_rows_go_to_the_bulk_lane_and_know_their_place(room: Room) -> None:
    room.run(["a", "b"])

    claims = [room.desk.must_claim() for _ in range(2)]

    assert [claim.job.position for claim in claims] == [1, 2]
    assert {claim.job.lane for claim in claims} == {Lane.BULK}
    assert claims[0].job.output.name == "1-a.{ext}"


def test_the_same_file_again_adds_nothing(room: Room) -> None:
    room.run(["a", "b"])

    again = room.run(["a", "b"])

    assert counts(again) == (2, 0, 2, 0)
    assert again.batch.run == 2
    assert room.prompts() == ["a", "b"]


def test_inserted_moved_and_edited_lines_add_only_what_is_new(room: Room) -> None:
    room.run(["a", "b", "c"])

    again = room.run(["c", "new", "a", "b edited"])

    assert counts(again) == (4, 2, 2, 0)
    # "b" is not in the file any more, so this run does not draw it.
    assert sorted(room.prompts(again.scope)) == ["a", "b edited", "c", "new"]


def test_the_same_line_twice_is_two_images(room: Room) -> None:
    assert counts(room.run(["a", "a", "a"])) == (3, 3, 0, 0)
    assert counts(room.run(["a", "a", "a", "a"])) == (4, 1, 3, 0)
    assert counts(room.run(["a", "a"])) == (2, 0, 2, 0)


def test_the_same_line_twice_across_chunks_is_two_images(
    sqlite_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CHUNK", 2)

    assert counts(sqlite_room.run(["a", "b", "a", "b", "a"])) == (5, 5, 0, 0)
    assert counts(sqlite_room.run(["a", "b", "a", "b", "a"])) == (5, 0, 5, 0)


def test_rows_without_a_seed_get_one_each_and_stay_the_same_rows(room: Room) -> None:
    room.run(["a", "a"])
    seeds = {room.desk.must_claim().job.request.seed for _ in range(2)}

    assert len(seeds) == 2
    assert counts(room.run(["a", "a"]))[1] == 0


@pytest.mark.parametrize(
    "change",
    [{"seed": 7}, {"size": "64x64"}, {"steps": 2}, {"negative": "dogs"}, {"options": {"a": "b"}}],
    ids=lambda change: next(iter(change)),
)
def test_asking_differently_is_another_row(sqlite_room: Room, change: dict[str, Any]) -> None:
    sqlite_room.run(["a"])

    assert counts(sqlite_room.run(["a"], **change)) == (1, 1, 0, 0)
    assert counts(sqlite_room.run(["a"], **change)) == (1, 0, 1, 0)


def test_another_backend_is_another_row(sqlite_room: Room, make_backend: Any) -> None:
    sqlite_room.studio.backends.by_name["other"] = make_backend()
    sqlite_room.run(["a"])

    assert counts(sqlite_room.run(["a"], backend="other")) == (1, 1, 0, 0)
    # The default by its name is the default.
    assert counts(sqlite_room.run(["a"], backend="mock")) == (1, 0, 1, 0)


def test_another_key_is_another_batch(room: Room) -> None:
    first = room.run(["a"], key="folder one")

    second = room.run(["a"], key="folder two")

    assert counts(second) == (1, 1, 0, 0)
    assert first.batch.id != second.batch.id
    assert room.prompts(second.scope) == ["a"]


def test_what_is_done_is_done(room: Room) -> None:
    room.run(["a", "b"])
    claim = room.desk.must_claim()
    room.desk.set(claim.job.id, state="succeeded", lease_owner=None)

    again = room.run(["a", "b"])

    assert counts(again) == (2, 0, 1, 1)
    assert again.to_draw == 1


def fail_one(room: Room) -> Any:
    claim = room.desk.must_claim()
    record_failed(room.desk.ledger, claim, Ending("content_rejected", "refused"))
    return claim.job.id


def test_rows_that_failed_before_are_named_and_left(room: Room) -> None:
    room.run(["a", "b"])
    failed = fail_one(room)

    again = room.run(["a", "b"])

    assert counts(again) == (2, 0, 1, 0)
    assert (again.left_failed, again.retried) == (1, 0)
    assert again.failed_ids == (failed,)
    assert room.prompts(again.scope) == ["b"]


def test_rows_that_failed_before_are_retried_when_asked(room: Room) -> None:
    room.run(["a", "b"])
    failed = fail_one(room)

    again = room.run(["a", "b"], retry=True)

    assert (again.left_failed, again.retried, again.to_draw) == (0, 1, 2)
    assert room.desk.state(failed) is JobState.QUEUED
    assert sorted(room.prompts(again.scope)) == ["a", "b"]


def test_only_so_many_failures_are_named(sqlite_room: Room) -> None:
    sqlite_room.run(str(number) for number in range(50))
    for _ in range(50):
        fail_one(sqlite_room)

    again = sqlite_room.run(str(number) for number in range(50))

    assert again.left_failed == 50
    assert len(again.failed_ids) == 20


def test_a_row_that_cannot_be_names_its_line_and_keeps_those_before_it(
    sqlite_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CHUNK", 2)

    with pytest.raises(RequestError, match="line 6: the prompt is 40,000 bytes long"):
        sqlite_room.run(["a", "b", "x" * 40_000])

    assert sqlite_room.prompts() == ["a", "b"]


def test_a_run_that_was_killed_half_way_is_taken_up(
    sqlite_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CHUNK", 2)

    def be_killed() -> Iterator[str]:
        yield from ["a", "b", "c"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sqlite_room.run(be_killed())

    assert counts(sqlite_room.run(["a", "b", "c", "d"])) == (4, 2, 2, 0)
    assert sqlite_room.prompts() == ["a", "b", "c", "d"]


def test_two_runs_at_once_share_their_rows(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "CHUNK", 10)
    prompts = [f"prompt {number}" for number in range(100)]
    together = threading.Barrier(4)
    found: list[SubmittedBatch] = []

    def run() -> None:
        together.wait(timeout=20)
        found.append(room.run(prompts))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert {submitted.total for submitted in found} == {100}
    assert len({submitted.batch.id for submitted in found}) == 1
    # Each run sees every row as its own, so whichever goes on draws all that is missing.
    last = max(found, key=lambda submitted: submitted.batch.run)
    assert sorted(room.prompts(last.scope)) == sorted(prompts)
    assert room.desk.claim() is None


def test_rows_of_a_running_batch_stay_in_reach_of_its_first_run(room: Room) -> None:
    first = room.run(["a", "b"])
    room.run(["a", "b"])

    assert sorted(room.prompts(first.scope)) == ["a", "b"]


def test_warnings_are_counted_and_not_repeated(sqlite_room: Room) -> None:
    submitted = sqlite_room.run(["a\x00", "b\x00", "c"])

    [(warning, number)] = count_warnings(sqlite_room.desk.ledger, submitted.scope).items()
    assert warning.startswith("removed 1 character(s)")
    assert number == 2


def test_every_chunk_is_told_of(sqlite_room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "CHUNK", 2)
    told: list[int] = []
    room = sqlite_room
    run = BatchRun(room.desk.ledger, room.context, room.studio.backends, RequestInput(""), NOW)

    identity = BatchIdentity("k", "k")
    run.submit(lines("abcde"), identity, on_chunk=lambda so_far: told.append(so_far.total))

    assert told == [2, 4, 5]


def test_thousands_of_finished_rows_are_read_back_and_nothing_is_drawn(
    sqlite_room: Room,
) -> None:
    prompts = [f"prompt {number}" for number in range(3_500)]
    sqlite_room.run(prompts)
    sqlite_room.desk.sql("UPDATE jobs SET state = 'succeeded'")

    again = sqlite_room.run(prompts)

    assert counts(again) == (3_500, 0, 0, 3_500)
    assert again.to_draw == 0


def test_memory_does_not_grow_with_the_number_of_rows(
    sqlite_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CHUNK", 100)
    prompt = "a red fox " * 1_000

    def peak_of(number: int, key: str) -> int:
        tracemalloc.reset_peak()
        sqlite_room.run((f"{prompt} {each}" for each in range(number)), key=key)
        return tracemalloc.get_traced_memory()[1]

    sqlite_room.run(["warm"], key="warm")
    tracemalloc.start()
    try:
        small, large = peak_of(100, "small"), peak_of(500, "large")
    finally:
        tracemalloc.stop()

    # Four more chunks, of ten kilobytes a row and more, would be another four megabytes.
    assert large - small < 2_000_000


def test_a_house_that_delivers_elsewhere_does_not_change_the_row(sqlite_room: Room) -> None:
    sqlite_room.run(["a"])
    sqlite_room.context = replace(sqlite_room.context, naming="{seed}.{ext}", caller="another")

    assert counts(sqlite_room.run(["a"])) == (1, 0, 1, 0)
