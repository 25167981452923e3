"""What the sub-block of a comfyui backend may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from imagen.backends.comfyui.settings import ComfyUISettings


def test_the_defaults_are_schnell_on_this_machine() -> None:
    settings = ComfyUISettings()

    assert (settings.url, settings.workflow) == ("http://127.0.0.1:8188", "flux-schnell")
    assert settings.files() == {}
    assert settings.default_options() == {}


@pytest.mark.parametrize(
    "url", ["gpu:8188", "ftp://gpu", "http://", "http://gpu:99999", "http://gpu/?x=1", ""]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        ComfyUISettings(url=url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        ComfyUISettings(url="http://me:test-password@gpu:8188")

    assert "headers_env" in str(caught.value)
    assert "test-password" not in str(caught.value)


def test_a_trailing_slash_does_not_matter() -> None:
    assert ComfyUISettings(url="https://gpu/comfy/").url == "https://gpu/comfy"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        ComfyUISettings.model_validate({"workflw": "flux-dev"})


def test_what_is_set_is_offered_to_the_workflow() -> None:
    settings = ComfyUISettings(model="a.safetensors", guidance=4, sampler="heun")

    assert settings.files() == {"model": "a.safetensors"}
    assert settings.default_options() == {"guidance": "4", "sampler": "heun"}
