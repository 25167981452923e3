"""Tests of imagen.config.schema: defaults, words and ranges."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from imagen.config.schema import BackendEntry, Config, OutputConfig, WorkersConfig
from imagen.domain.size import Size
from imagen.domain.style import Style
from imagen.errors import RequestError


@pytest.mark.parametrize(
    ("written", "meant"),
    [("on", "on"), ("yes", "on"), (True, "on"), ("OFF", "off"), (False, "off"), ("Auto", "auto")],
)
def test_a_switch_understands_the_words_that_people_write(written: Any, meant: str) -> None:
    output = OutputConfig.model_validate({"preview": written, "cloud_sync": written})

    assert (output.preview, output.cloud_sync) == (meant, meant)


@pytest.mark.parametrize(("written", "meant"), [(True, True), ("yes", True), ("off", False)])
def test_a_flag_understands_them_too(written: Any, meant: bool) -> None:
    assert OutputConfig.model_validate({"sidecar": written}).sidecar is meant


@pytest.mark.parametrize(("written", "meant"), [("jpg", "jpeg"), ("JPG", "jpeg"), ("WebP", "webp")])
def test_a_format_may_be_named_as_files_name_it(written: str, meant: str) -> None:
    assert OutputConfig.model_validate({"format": written}).format == meant


def test_a_style_becomes_a_domain_style() -> None:
    config = Config.model_validate(
        {"styles": {"wide": {"suffix": ", wide", "size": "1536X768", "steps": 0}}}
    )

    assert config.style("wide") == Style("wide", suffix=", wide", size=Size(1536, 768))


def test_a_style_without_a_value_adds_nothing() -> None:
    assert Config.model_validate({"styles": {"plain": None}}).style("plain") == Style("plain")


def test_an_unknown_style_is_a_request_error_with_a_near_miss() -> None:
    with pytest.raises(RequestError) as caught:
        Config().style("blog-heder")

    assert str(caught.value) == (
        "unknown style 'blog-heder'; did you mean 'blog-header'? (configured styles: blog-header)"
    )


def test_an_unknown_style_where_there_are_none_says_where_to_add_one() -> None:
    with pytest.raises(RequestError, match="add one under 'styles:'"):
        Config.model_validate({"styles": {}}).style("x")


def test_a_backends_own_keys_are_kept_apart_from_its_settings() -> None:
    entry = BackendEntry.model_validate(
        {"type": "mock", "queue": "gpu.big", "settings": 1, "url": "x", "steps": None}
    )

    assert (entry.type, entry.queue) == ("mock", "gpu.big")
    assert entry.settings == {"settings": 1, "url": "x"}


@pytest.mark.parametrize("queue", ["GPU", "1gpu", "results.host", "a b", "", "a" * 64, "gpu\n"])
def test_a_queue_name_that_redis_or_delivery_would_trip_over_is_refused(queue: str) -> None:
    with pytest.raises(ValidationError):
        BackendEntry.model_validate({"type": "mock", "queue": queue})


@pytest.mark.parametrize("name", ["a/b", "../x", "", " ", "-x", "a" * 64, "naïve", "x\n"], ids=repr)
def test_a_name_that_would_be_trouble_in_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"backends": {name: {"type": "mock"}}})


def test_the_heartbeat_is_a_third_of_the_lease_unless_set() -> None:
    assert WorkersConfig.model_validate({"lease_s": 3}).heartbeat_every_s == 1
    assert WorkersConfig.model_validate({"heartbeat_s": 2.5}).heartbeat_every_s == 2.5


def test_short_times_are_allowed() -> None:
    short = {"lease_s": 0.3, "grace_s": 0, "reconcile_s": 0.05}

    workers = WorkersConfig.model_validate(short)

    assert workers.lease_s == 0.3


def test_a_user_id_is_written_as_postgres_writes_it() -> None:
    config = Config.model_validate({"owner_user_id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"})

    assert config.owner_user_id == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().default_backend = "mock"


def test_a_configuration_survives_its_own_dump() -> None:
    config = Config.model_validate({"results": {"allowed_dirs": ["/a", "~/b"]}})

    assert Config.model_validate(config.model_dump()) == config
