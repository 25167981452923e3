"""Inputs that are secrets are sent with the create call, and are stored nowhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagen.backends.installed import InstalledAdapters
from imagen.backends.replicate.backend import ReplicateBackend
from imagen.config.load import load_config
from imagen.domain.request import ImageRequest
from imagen.errors import BackendRejected, ConfigError, CredentialError, SecretOption
from imagen.services.report.check_config import check_config, require_valid
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun, Killed

KEY = "sk-that-must-not-be-found"
TOKEN = "test-token"
ENV = {"REPLICATE_API_TOKEN": TOKEN, "OPENAI_API_KEY": KEY}
FROM_ENV = {"openai_api_key": "OPENAI_API_KEY"}

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]


@pytest.fixture
def keeper(build: Build) -> ReplicateBackend:
    return build(model="acme/keeper", input_env=FROM_ENV, env=ENV)


def draft(**changes: Any) -> ImageRequest:
    return ImageRequest("a fox", "a fox", width=512, height=512, seed=7, **changes)


def die() -> None:
    raise Killed


def sent(fake: FakeReplicate) -> list[dict[str, Any]]:
    """The inputs of every create call."""
    calls = [call for call in fake.calls if call.method == "POST" and call.body]
    return [json.loads(call.body)["input"] for call in calls]


def test_the_value_is_sent_and_recorded_as_set(
    keeper: ReplicateBackend, fake: FakeReplicate, new_run: NewRun
) -> None:
    drawn = keeper.generate(draft(), new_run())

    assert [inputs["openai_api_key"] for inputs in sent(fake)] == [KEY]
    assert drawn.details["input"]["openai_api_key"] == "(set)"
    assert KEY not in repr(drawn) + repr(keeper)


def test_a_lost_answer_is_found_although_the_list_tells_no_secrets(
    keeper: ReplicateBackend, fake: FakeReplicate, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)

    keeper.generate(draft(), new_run())

    assert fake.world.created_count() == 1


def test_what_the_provider_says_is_told_without_the_secret(
    build: Build, new_run: NewRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = f"wrong-{KEY}"
    backend = build(model="acme/keeper", input_env=FROM_ENV, env={**ENV, "OPENAI_API_KEY": wrong})

    with pytest.raises(BackendRejected, match="Incorrect API key") as caught:
        backend.generate(draft(), new_run())

    assert KEY not in f"{caught.value} {caplog.text}"


@pytest.mark.parametrize("name", ["openai_api_key", "hf_token", "password", "my-secret", "apiKey"])
def test_an_option_of_a_telling_name_is_refused_before_the_job_is_accepted(
    build: Build, name: str
) -> None:
    backend = build(model="acme/keeper", env=ENV)

    with pytest.raises(SecretOption, match="input_env") as caught:
        backend.fit(draft(options={name: KEY}))

    assert KEY not in str(caught.value)


def test_an_option_that_the_configuration_takes_from_the_environment_is_refused(
    build: Build,
) -> None:
    backend = build(model="acme/keeper", input_env={"licence": "LICENCE"}, env=ENV)

    with pytest.raises(SecretOption, match="export it as LICENCE"):
        backend.fit(draft(options={"licence": KEY}))


def test_an_option_that_the_model_calls_a_secret_is_not_sent(
    build: Build, fake: FakeReplicate, new_run: NewRun
) -> None:
    backend = build(model="acme/keeper", env=ENV)
    request = backend.fit(draft(options={"licence": KEY})).request

    with pytest.raises(SecretOption) as caught:
        backend.generate(request, new_run())

    assert caught.value.options == ("licence",)
    assert sent(fake) == []


def test_a_secret_in_the_configured_inputs_is_refused(build: Build, new_run: NewRun) -> None:
    backend = build(model="acme/keeper", input={"licence": KEY}, env=ENV)

    with pytest.raises(ConfigError, match="input_env") as caught:
        backend.generate(draft(), new_run())

    assert KEY not in str(caught.value)


def test_a_missing_variable_is_named_before_anything_is_sent(
    build: Build, fake: FakeReplicate, new_run: NewRun
) -> None:
    env = {"REPLICATE_API_TOKEN": TOKEN}
    backend = build(model="acme/keeper", input_env=FROM_ENV, env=env)

    with pytest.raises(CredentialError, match="OPENAI_API_KEY"):
        backend.generate(draft(), new_run())

    assert sent(fake) == []
    health = backend.check()
    assert health.state == "not configured"
    assert "OPENAI_API_KEY" in health.reason


def test_a_prediction_that_is_paid_for_needs_no_secret(
    build: Build, fake: FakeReplicate, new_run: NewRun
) -> None:
    """Neither one found in the list nor one whose id is known is created again."""
    run = new_run(before_submitted=die)
    with pytest.raises(Killed):
        build(model="acme/keeper", input_env=FROM_ENV, env=ENV).generate(draft(), run)
    env = {"REPLICATE_API_TOKEN": TOKEN}
    without = build(model="acme/keeper", input_env=FROM_ENV, env=env, post_timeout_s=0.3)

    without.generate(draft(), run.resumed())
    without.generate(draft(), run.resumed())

    assert fake.world.created_count() == 1


def test_a_request_of_a_model_without_secrets_is_as_before(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    build().generate(request_, new_run())

    assert "openai_api_key" not in sent(fake)[0]


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("input: {openai_api_key: sk-1}", r"input_env: \{openai_api_key: OPENAI_API_KEY\}"),
        ("input_env: {openai_api_key: sk-1}", "name of an environment variable"),
        ("input: {licence: a}, input_env: {licence: LICENCE}", "both input and input_env"),
    ],
)
def test_a_file_holds_names_of_variables_and_no_secret(
    tmp_path: Path, block: str, complaint: str
) -> None:
    path = tmp_path / "imagen.yaml"
    path.write_text(f"backends: {{a: {{type: replicate, model: acme/keeper, {block}}}}}\n")

    with pytest.raises(ConfigError, match=complaint) as caught:
        require_valid(load_config(path, {}), InstalledAdapters())

    assert "sk-1" not in str(caught.value)


def test_a_file_may_name_the_variable_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "imagen.yaml"
    block = "{type: replicate, model: acme/keeper, input_env: {openai_api_key: OPENAI_API_KEY}}"
    path.write_text(f"backends: {{a: {block}}}\n")

    assert check_config(load_config(path, {}), InstalledAdapters()) == []
