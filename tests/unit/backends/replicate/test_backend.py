"""A request becomes one image, with all that is needed to draw it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.errors import BackendRejected, ConfigError, CredentialError, RequestError
from imagen.images.verify import inspect_image
from tests.fakes.replicate import FakeReplicate
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]
PAINTER = f"acme/painter:{'a' * 64}"


def test_an_image_carries_what_it_cost_and_how_to_draw_it_again(
    build: Build, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run()

    drawn = build(input={"go_fast": False}).generate(request_, run)

    assert drawn.model == "black-forest-labs/flux-schnell"
    assert (drawn.seed, drawn.steps) == (7, 4)
    assert drawn.cost.usd == Decimal("0.003")
    assert drawn.cost.source == "metrics and price table of 2026-09-18"
    assert drawn.details["prediction_id"] == run.external_ids[0]
    assert drawn.details["input"]["go_fast"] is False
    assert "fox" not in str(drawn.details)


@pytest.mark.parametrize(("wanted", "given"), [("png", "png"), ("jpeg", "jpeg"), ("webp", "webp")])
def test_the_image_comes_in_the_format_asked_for(
    build: Build, request_: ImageRequest, new_run: NewRun, wanted: str, given: str
) -> None:
    drawn = build().generate(replace(request_, format=wanted), new_run())

    assert inspect_image(drawn.data).format == given


def test_an_official_model_is_called_by_name_and_another_by_version(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    build().generate(request_, new_run())
    build(model=PAINTER).generate(request_, new_run())

    posts = [call.path for call in fake.calls if call.method == "POST"]
    assert posts == [
        "/v1/models/black-forest-labs/flux-schnell/predictions",
        "/v1/predictions",
    ]


def test_a_model_outside_the_table_is_driven_by_its_live_schema_read_once(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend = build(model="acme/sketcher", input={"texture": 0.5})
    request = replace(request_, width=2048, height=1024, negative="text", steps=None)

    drawn = backend.generate(request, new_run())
    backend.generate(request, new_run())

    info = inspect_image(drawn.data)
    assert (info.width, info.height) == (1024, 512)
    assert any("2048x1024" in warning for warning in drawn.warnings)
    assert drawn.steps == 20
    assert drawn.cost.usd is None
    assert drawn.details["input"]["texture"] == 0.5
    assert fake.count_calls("GET", "/models/acme/sketcher") == 1


def test_what_a_live_schema_does_not_take_is_refused_before_it_is_sent(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    backend = build(model=PAINTER)

    with pytest.raises(RequestError, match="texture"):
        backend.generate(replace(request_, options={"texturr": "1"}), new_run())
    with pytest.raises(RequestError, match="1 to 50"):
        backend.generate(replace(request_, steps=99), new_run())
    with pytest.raises(ConfigError, match="texturr"):
        build(model=PAINTER, input={"texturr": 1}).generate(request_, new_run())

    assert fake.world.created_count() == 0


def test_a_model_that_needs_its_version_is_refused_with_the_version(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    with pytest.raises(BackendRejected, match=PAINTER):
        build(model="acme/painter").generate(request_, new_run())

    assert fake.count_calls("POST", "/predictions") == 0


def test_an_unknown_model_is_said_to_be_unknown(
    build: Build, request_: ImageRequest, new_run: NewRun
) -> None:
    with pytest.raises(BackendRejected, match="acme/nothing"):
        build(model="acme/nothing").generate(request_, new_run())


def test_fitting_makes_no_call(build: Build, fake: FakeReplicate, request_: ImageRequest) -> None:
    known = build().fit(replace(request_, steps=None, width=1536, height=768))
    unknown = build(model=PAINTER, default_steps=11).fit(replace(request_, steps=None))

    assert (known.request.width, known.request.height, known.request.steps) == (1344, 768, 4)
    assert unknown.request.steps == 11
    assert not fake.calls


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"default_steps": 20}, "1 to 4"),
        ({"model": "black-forest-labs/flux-1.1-pro", "default_steps": 20}, "no default_steps"),
        ({"input": {"guidence": 3}}, "guidence"),
        ({"input": {"go_fast": "yes"}}, "go_fast"),
        ({"input": {"prompt": "x"}}, "prompt"),
    ],
)
def test_settings_that_the_model_does_not_take_are_refused_at_once(
    build: Build, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build(**settings)

    assert "cloud-fox" in str(caught.value)


@pytest.mark.parametrize("token", [None, "", "  ", "two words", "line\nbreak", "tokén"])
def test_a_token_that_cannot_be_one_is_named_by_its_variable_only(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun, token: str | None
) -> None:
    env = {} if token is None else {"REPLICATE_API_TOKEN": token}

    with pytest.raises(CredentialError) as caught:
        build(env=env).generate(request_, new_run())

    assert "REPLICATE_API_TOKEN" in str(caught.value)
    assert not (token or "").strip() or token not in str(caught.value)
    assert not fake.calls


def test_an_estimate_is_the_price_of_the_image_that_will_be_drawn(
    build: Build, request_: ImageRequest
) -> None:
    assert build().estimate(request_).usd == Decimal("0.003")
    assert build(model="black-forest-labs/flux-2-pro").estimate(request_).usd == Decimal("0.030")
    assert build(model=PAINTER).estimate(request_).usd is None
    assert build(model=PAINTER, price=0.01).estimate(request_).usd == Decimal("0.01")


def test_backends_of_one_token_share_an_account(build: Build) -> None:
    same = {build().account, build(model=PAINTER).account}
    other = build(api_token_env="OTHER").account

    assert len(same) == 1
    assert other not in same
