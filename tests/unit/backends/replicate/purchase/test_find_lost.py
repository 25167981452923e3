"""A file given as a data URL is sent with the call, but Replicate's list does not show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.backends.replicate.purchase.list_search import CreateCall
from imagen.domain.request import ImageRequest
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import Book, BookRun, Killed

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]

PICTURE = "data:image/png;base64,iVBORw0KGgo="
#: A model that takes one picture, and one that takes several.
WITH_PICTURE = [
    ("black-forest-labs/flux-kontext-pro", "input_image", PICTURE),
    ("black-forest-labs/flux-2-pro", "input_images", json.dumps([PICTURE, PICTURE])),
]


@pytest.mark.parametrize(("model", "name", "value"), WITH_PICTURE)
@pytest.mark.parametrize(
    "fault",
    [
        ReplicateFault.LOST_AFTER_CREATION,
        ReplicateFault.CREATED_AFTER_CUT,
        ReplicateFault.ERROR_AFTER_CREATION,
    ],
)
def test_an_order_with_a_file_is_paid_once_when_its_answer_is_lost(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    model: str,
    name: str,
    value: str,
    fault: ReplicateFault,
) -> None:
    fake.world.late_s = 0.1
    fake.inject(fault)
    request = replace(request_, steps=None, options={name: value})

    build(model=model).generate(request, new_run())

    assert fake.world.created_count() == 1


def test_an_order_with_a_file_is_not_taken_for_one_with_another_prompt(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend = build(model=WITH_PICTURE[0][0])
    request = replace(request_, steps=None, options={"input_image": PICTURE})
    lost = new_run(before_submitted=_die)
    with pytest.raises(Killed):
        backend.generate(replace(request, styled_prompt="another fox"), lost)
    fake.inject(ReplicateFault.LOST_BEFORE_CREATION)
    run = new_run()

    backend.generate(request, run)

    assert fake.world.made[run.external_ids[0]].inputs["prompt"] == "a vermilion fox"
    assert fake.world.created_count() == 2


def test_rows_that_differ_in_their_file_alone_each_get_one_prediction_of_their_own(
    build: Build, fake: FakeReplicate, request_: ImageRequest, book: Book, new_run: NewRun
) -> None:
    fake.world.late_s = 0.4
    for fault in (
        ReplicateFault.LOST_BEFORE_CREATION,
        ReplicateFault.LOST_AFTER_CREATION,
        ReplicateFault.CREATED_AFTER_CUT,
        ReplicateFault.NESTED_ANSWER,
        ReplicateFault.ERROR_BEFORE_CREATION,
    ):
        fake.inject(fault)
    # As in two processes, which share no locks.
    backends = [build(model=WITH_PICTURE[0][0], settle_s=0.6) for _ in range(2)]
    runs = [new_run() for _ in range(12)]

    def draw(number: int) -> None:
        options = {"input_image": f"data:image/png;base64,{number:04}"}
        request = replace(request_, steps=None, options=options)
        backends[number % 2].generate(request, runs[number])

    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(draw, range(len(runs))))

    assert fake.world.created_count() == len(book.owners) == len(runs)
    assert len({run.external_ids[-1] for run in runs}) == len(runs)


def test_orders_that_the_list_cannot_tell_apart_are_looked_up_one_at_a_time() -> None:
    def key_of(**inputs: object) -> str:
        return CreateCall("/p", dict, model="a/b", version=None, inputs=inputs).key

    assert key_of(prompt="x", image=PICTURE) == key_of(prompt="x", image=f"{PICTURE}AA")
    assert key_of(prompt="x", images=[PICTURE]) == key_of(prompt="x")
    assert key_of(prompt="x", image="https://a/b.png") != key_of(prompt="x")


def test_the_list_of_the_fake_leaves_files_out_as_replicate_does(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    request = replace(request_, steps=None, options={"input_image": PICTURE})
    backend = build(model=WITH_PICTURE[0][0])
    backend.generate(request, new_run())

    listed = backend._client.get("/predictions", timeout_s=5).body["results"][0]

    assert "input_image" not in listed["input"]
    assert listed["input"]["prompt"] == "a vermilion fox"


def _die() -> None:
    raise Killed
