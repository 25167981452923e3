"""A prediction is called canceled once Replicate says that it has ended, and not before."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.errors import BackendUnavailable, JobCanceled, JobTimeout, OutcomeUnknown
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]
UNHEARD = [ReplicateFault.CANCEL_ERROR, ReplicateFault.CANCEL_LOST, ReplicateFault.CANCEL_IGNORED]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten seconds outside of tests.
    monkeypatch.setattr("imagen.backends.replicate.purchase.cancel._TIMEOUT_S", 0.5)


def canceled_run(new_run: NewRun) -> BookRun:
    """A run whose job is canceled as soon as its prediction is known."""

    def cancel(*_: int) -> None:
        if run.external_ids:
            raise JobCanceled("canceled")

    run = new_run(on_progress=cancel)
    return run


def status_of(fake: FakeReplicate) -> object:
    (one,) = fake.stats()["predictions"]
    return one["status"]


def test_a_cancel_is_sent_without_a_body(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    """Replicate's OpenAPI document has no body there, and a validator answers 415 to one."""
    fake.world.draw_s = 60

    with pytest.raises(JobCanceled):
        build().generate(request_, canceled_run(new_run))

    (call,) = [call for call in fake.calls if call.path.endswith("/cancel")]
    assert call.body == b""
    assert "Content-Type" not in call.headers
    assert status_of(fake) == "canceled"


@pytest.mark.parametrize("fault", UNHEARD)
def test_a_cancel_that_is_not_confirmed_is_not_called_one(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.world.draw_s = 60
    fake.inject(fault, times=99)

    with pytest.raises(OutcomeUnknown, match="not confirmed") as caught:
        build().generate(request_, canceled_run(new_run))

    assert caught.value.look_again_s > 0
    assert "may go on and cost" in caught.value.hint
    assert status_of(fake) == "processing"


@pytest.mark.parametrize("fault", UNHEARD)
def test_a_cancel_that_is_lost_once_is_asked_for_again(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.world.draw_s = 60
    fake.inject(fault)

    with pytest.raises(JobCanceled):
        build().generate(request_, canceled_run(new_run))

    assert status_of(fake) == "canceled"


def test_a_prediction_that_succeeds_in_spite_of_its_cancel_is_billed(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 0.3
    fake.inject(ReplicateFault.CANCEL_IGNORED, times=99)
    run = canceled_run(new_run)

    with pytest.raises(JobCanceled):
        build().generate(request_, run)

    ((_, bill),) = run.of_kind("billed")
    assert bill.cost.usd == Decimal("0.003")
    assert (bill.model, bill.seed) == ("black-forest-labs/flux-schnell", 7)


def test_a_deadline_whose_cancel_is_not_confirmed_leaves_the_outcome_open(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.NEVER_ENDS)
    fake.inject(ReplicateFault.CANCEL_ERROR, times=99)
    backend, run = build(timeout_s=0.2), new_run()

    with pytest.raises(OutcomeUnknown, match="not confirmed") as caught:
        backend.generate(request_, run)
    assert "so it was canceled" not in str(caught.value)
    assert caught.value.look_again_s > 0

    fake.stage.faults.clear()
    with pytest.raises(JobTimeout, match="so it was canceled"):
        backend.generate(request_, run.resumed())
    assert status_of(fake) == "canceled"


def test_a_cancel_from_outside_says_when_it_is_not_confirmed(
    build: Build, fake: FakeReplicate
) -> None:
    one = fake.world.create("acme/x", {"prompt": "x"}, fault=ReplicateFault.NEVER_ENDS)
    fake.inject(ReplicateFault.CANCEL_ERROR, times=99)

    with pytest.raises(BackendUnavailable, match=f"{one.id}.* is not confirmed"):
        build().cancel(one.id)


def test_a_cancel_from_outside_tells_what_had_been_drawn_before(
    build: Build, fake: FakeReplicate
) -> None:
    inputs = {"prompt": "x", "seed": 9}
    one = fake.world.create("black-forest-labs/flux-schnell", inputs, fault=None)
    backend = build()
    while one.status(one.ends_at + 1) != "succeeded":
        pass
    fake.inject(ReplicateFault.CANCEL_IGNORED, times=99)

    bill = backend.cancel(one.id)

    assert bill is not None
    assert (bill.cost.usd, bill.seed) == (Decimal("0.003"), 9)


def test_a_refused_token_confirms_no_cancel(build: Build, fake: FakeReplicate) -> None:
    one = fake.world.create("acme/x", {"prompt": "x"}, fault=ReplicateFault.NEVER_ENDS)

    with pytest.raises(BackendUnavailable, match="not confirmed"):
        build(env={"REPLICATE_API_TOKEN": "wrong-token"}).cancel(one.id)


def test_an_id_that_is_not_known_yet_is_not_taken_for_one_that_is_gone(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 60
    fake.inject(ReplicateFault.CANCEL_ERROR, times=99)
    fake.inject(ReplicateFault.POLL_UNKNOWN, times=99)

    with pytest.raises(OutcomeUnknown, match="not confirmed"):
        build().generate(request_, canceled_run(new_run))


@pytest.mark.parametrize("times", [1, 3])
def test_a_404_right_after_the_create_means_not_yet(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun, times: int
) -> None:
    fake.inject(ReplicateFault.POLL_UNKNOWN, times=times)

    drawn = build(patience_s=10.0).generate(request_, new_run())

    assert drawn.data
    assert fake.world.created_count() == 1


def test_a_404_later_on_means_another_account(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend, run = build(), new_run()
    backend.generate(request_, run)
    fake.world.made.clear()

    with pytest.raises(OutcomeUnknown, match="another account"):
        backend.generate(request_, run.resumed(intent_age_s=61.0))

    assert fake.world.created_count() == 0
