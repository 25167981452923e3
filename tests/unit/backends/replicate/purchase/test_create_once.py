"""No prediction is paid for twice, whatever happens to the answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.job import AttemptState
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendUnavailable,
    ImagenError,
    LeaseLost,
    OutcomeUnknown,
    RateLimited,
)
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import Book, BookRun, Killed

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]

PAINTER = f"acme/painter:{'a' * 64}"


def die() -> None:
    raise Killed


@pytest.mark.parametrize(
    "fault",
    [
        ReplicateFault.LOST_AFTER_CREATION,
        ReplicateFault.CREATED_AFTER_CUT,
        ReplicateFault.ERROR_AFTER_CREATION,
        ReplicateFault.TORN_ANSWER,
        ReplicateFault.HANG_AFTER_CREATION,
        ReplicateFault.LATE_IN_LIST,
    ],
)
def test_a_created_prediction_whose_answer_was_lost_is_found_and_used(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.world.late_s = 0.1
    fake.inject(fault)
    if fault is ReplicateFault.LATE_IN_LIST:
        fake.inject(ReplicateFault.LOST_AFTER_CREATION)
    run = new_run()

    drawn = build(post_timeout_s=0.5).generate(request_, run)

    assert drawn.data
    assert fake.world.created_count() == 1
    assert run.external_ids == list(fake.world.made)
    assert len(run.of_kind("intend")) == 1


@pytest.mark.parametrize(
    "fault", [ReplicateFault.LOST_BEFORE_CREATION, ReplicateFault.ERROR_BEFORE_CREATION]
)
def test_a_call_that_created_nothing_is_sent_again_once_the_list_says_so(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.inject(fault)
    run = new_run()

    build().generate(request_, run)

    assert fake.world.created_count() == 1
    kinds = [event[0] for event in run.events if event[0] != "progress"]
    assert kinds == ["intend", "intend", "submitted", "billed"]
    assert fake.count_calls("GET", "/predictions") >= 2


def test_calls_that_keep_creating_nothing_end_as_certainly_not_started(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.LOST_BEFORE_CREATION, times=9)

    with pytest.raises(BackendUnavailable, match="created nothing"):
        build(settle_s=0.05).generate(request_, new_run())

    assert fake.world.created_count() == 0


def test_an_id_is_committed_before_anything_is_waited_for(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 0.3
    run = new_run()

    build().generate(request_, run)

    polls = fake.count_calls("GET", f"/{run.external_ids[0]}")
    assert polls >= 1
    assert "Prefer" not in fake.calls[0].headers
    # Both timeouts of schnell and the reserve: 300 + 60 + 60.
    assert fake.calls[0].headers["Cancel-After"] == "420s"


def test_a_worker_that_takes_over_polls_the_prediction_already_paid_for(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 0.2
    run = new_run(on_progress=lambda *_: die() if run.external_ids else None)
    with pytest.raises(Killed):
        build().generate(request_, run)

    build().generate(request_, run.resumed())

    assert fake.world.created_count() == 1


def test_a_worker_that_died_between_answer_and_commit_leaves_a_prediction_that_is_found(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run(before_submitted=die)
    with pytest.raises(Killed):
        build().generate(request_, run)

    again = run.resumed()
    build(post_timeout_s=0.3).generate(request_, again)

    assert fake.world.created_count() == 1
    assert again.external_ids == list(fake.world.made)
    assert not again.of_kind("intend")


def test_a_worker_that_takes_over_waits_until_the_lost_call_can_create_nothing_more(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.late_s = 0.5
    fake.inject(ReplicateFault.CREATED_AFTER_CUT)
    run = new_run(on_progress=lambda *_: die() if run.intended_s else None)
    with pytest.raises(Killed):
        build().generate(request_, run)

    build(post_timeout_s=0.5).generate(request_, run.resumed())

    assert fake.world.created_count() == 1


def test_a_call_that_a_stopped_worker_hears_of_late_is_not_sent_again_by_its_successor(
    build: Build, fake: FakeReplicate, request_: ImageRequest, book: Book, new_run: NewRun
) -> None:
    """The list shows nothing to take, because the attempt itself owns the prediction."""
    stopped = new_run(before_submitted=die)
    with pytest.raises(Killed):
        build().generate(request_, stopped)
    successor = stopped.resumed()
    (only,) = fake.world.made
    book.claim(fake.url, only, stopped.attempt_id)

    with pytest.raises(LeaseLost):
        build(post_timeout_s=0.3).generate(request_, successor)
    build().generate(request_, stopped.resumed())

    assert fake.world.created_count() == 1


def test_an_intent_of_unknown_age_is_waited_out_in_full(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run(before_submitted=die)
    with pytest.raises(Killed):
        build().generate(request_, run)

    build(post_timeout_s=0.3).generate(request_, run.resumed(intent_age_s=None))

    assert fake.world.created_count() == 1


@pytest.mark.parametrize("fault", [ReplicateFault.MODEL_ERROR, ReplicateFault.MODEL_THROTTLED])
def test_a_lost_call_is_not_forgotten_while_the_models_inputs_cannot_be_asked_for(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    """Both errors would make the next worker send a call without a search."""
    run = new_run(before_submitted=die)
    with pytest.raises(Killed):
        build(model=PAINTER).generate(request_, run)
    fake.inject(fault)
    successor = build(model=PAINTER, post_timeout_s=0.3)

    with pytest.raises(OutcomeUnknown) as caught:
        successor.generate(request_, run.resumed())
    successor.generate(request_, run.resumed())

    assert caught.value.look_again_s > 0
    assert fake.world.created_count() == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ReplicateFault.MODEL_ERROR, BackendUnavailable),
        (ReplicateFault.MODEL_THROTTLED, RateLimited),
    ],
)
def test_an_attempt_that_sent_nothing_begins_anew_where_the_model_cannot_be_asked_for(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    error: type[ImagenError],
) -> None:
    fake.inject(fault)

    with pytest.raises(error):
        build(model=PAINTER).generate(request_, new_run().resumed())


def test_an_attempt_that_sent_nothing_is_simply_sent(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run().resumed()
    assert run.previous is not None
    assert run.previous.state is AttemptState.STARTED

    build().generate(request_, run)

    assert fake.count_calls("GET", "/predictions") == 0
    assert fake.world.created_count() == 1


def test_a_prediction_with_another_seed_or_prompt_is_never_taken(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend = build()
    for other in (replace(request_, seed=8), replace(request_, styled_prompt="another fox")):
        lost = new_run(before_submitted=die)
        with pytest.raises(Killed):
            backend.generate(other, lost)
    fake.inject(ReplicateFault.LOST_BEFORE_CREATION)
    run = new_run()

    backend.generate(request_, run)

    made = fake.world.made[run.external_ids[0]]
    assert (made.inputs["seed"], made.inputs["prompt"]) == (7, "a vermilion fox")
    assert fake.world.created_count() == 3


def test_a_prediction_that_another_attempt_owns_is_never_taken(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend = build()
    first, second = new_run(), new_run()
    backend.generate(request_, first)
    fake.inject(ReplicateFault.LOST_BEFORE_CREATION)

    backend.generate(request_, second)

    assert fake.world.created_count() == 2
    assert first.external_ids != second.external_ids


def test_an_answer_whose_id_was_taken_meanwhile_sends_its_attempt_back_to_the_list(
    build: Build, fake: FakeReplicate, request_: ImageRequest, book: Book, new_run: NewRun
) -> None:
    """One of two equal calls creates a prediction, which either attempt may take."""
    backend = build()
    thief = new_run()

    def steal() -> None:
        victim.before_submitted = lambda: None
        (only,) = fake.world.made
        book.claim(fake.url, only, thief.attempt_id)

    victim = new_run(before_submitted=steal)

    backend.generate(request_, victim)

    assert fake.world.created_count() == 2
    assert len(book.owners) == 2


def test_the_list_is_read_to_its_last_page(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.stage.page_size = 3
    backend = build()
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)
    run = new_run()
    noise = [replace(request_, seed=100 + number) for number in range(10)]

    with ThreadPoolExecutor(4) as pool:
        mine = pool.submit(backend.generate, request_, run)
        list(pool.map(lambda one: backend.generate(one, new_run()), noise))
        mine.result(timeout=20)

    assert fake.world.created_count() == 11
    assert fake.world.made[run.external_ids[0]].inputs["seed"] == 7


def test_the_lists_cursor_is_followed_on_the_configured_host_only(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.stage.page_size = 1
    backend = build()
    backend.generate(replace(request_, seed=8), new_run())
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)

    backend.generate(request_, new_run())

    assert {call.headers["Host"] for call in fake.calls if call.host == "api"} == {
        fake.url.removeprefix("http://")
    }


def test_a_list_that_cannot_be_read_leaves_the_outcome_unknown_and_says_when_to_look_again(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)
    fake.inject(ReplicateFault.LIST_ERROR, times=50)

    with pytest.raises(OutcomeUnknown) as caught:
        build(patience_s=0.6).generate(request_, new_run())

    assert caught.value.look_again_s > 0
    assert fake.world.created_count() == 1


def test_a_list_that_fails_now_and_then_is_asked_again(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)
    fake.inject(ReplicateFault.LIST_ERROR)
    fake.inject(ReplicateFault.LIST_LOST)

    build().generate(request_, new_run())

    assert fake.world.created_count() == 1


def test_an_erased_prediction_that_could_be_the_lost_one_stops_the_attempt(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.retention_s = 0.0
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)

    with pytest.raises(OutcomeUnknown, match="erased"):
        build().generate(request_, new_run())

    assert fake.world.created_count() == 1


def test_an_intent_older_than_the_provider_remembers_is_never_sent_again(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run(before_submitted=die)
    with pytest.raises(Killed):
        build().generate(request_, run)
    fake.world.made.clear()

    with pytest.raises(OutcomeUnknown) as caught:
        build().generate(request_, run.resumed(intent_age_s=3600.0))

    assert caught.value.look_again_s == 0
    assert fake.world.created_count() == 0
