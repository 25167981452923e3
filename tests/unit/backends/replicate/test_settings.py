"""Settings are refused that would leak the token or cannot work."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from imagen.backends.replicate.settings import ReplicateSettings

MODEL = "black-forest-labs/flux-schnell"


def test_a_model_alone_is_enough() -> None:
    settings = ReplicateSettings(model=MODEL)

    assert settings.api_token_env == "REPLICATE_API_TOKEN"
    assert settings.base_url == "https://api.replicate.com"
    assert settings.version is None


def test_a_version_is_told_from_the_name() -> None:
    settings = ReplicateSettings(model=f"acme/painter:{'a' * 64}")

    assert settings.owner_and_name == "acme/painter"
    assert settings.version == "a" * 64


@pytest.mark.parametrize("model", ["flux-schnell", "a/b/c", "acme/painter:latest", "a/b:123", "/b"])
def test_a_model_that_names_nothing_is_refused(model: str) -> None:
    with pytest.raises(ValidationError, match="owner/name"):
        ReplicateSettings(model=model)


@pytest.mark.parametrize("value", ["r8_abcdefghijkl", "not a name", ""])
def test_a_token_in_the_place_of_its_variables_name_is_refused_unrepeated(value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ReplicateSettings(model=MODEL, api_token_env=value)

    assert "name of an environment variable" in str(caught.value)
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.replicate.com",
        "ftp://api.replicate.com",
        "https://me:secret@api.replicate.com",
        "https://",
        "http://127.0.0.1.evil.example",
    ],
)
def test_a_base_url_that_would_show_the_token_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="base_url"):
        ReplicateSettings(model=MODEL, base_url=url)


@pytest.mark.parametrize("url", ["https://proxy.example/", "https://proxy.example/v1/"])
def test_a_base_url_may_end_in_its_version_or_a_slash(url: str) -> None:
    assert ReplicateSettings(model=MODEL, base_url=url).base_url == "https://proxy.example"


@pytest.mark.parametrize("host", ["", "*", "*.delivery", "https://a.example", "a@b"])
def test_a_download_host_is_a_host(host: str) -> None:
    with pytest.raises(ValidationError, match="download_hosts"):
        ReplicateSettings.model_validate({"model": MODEL, "download_hosts": [host]})


@pytest.mark.parametrize("price", [0.003, "0.003", {"per_image": 0.003}])
def test_a_bare_price_is_a_price_per_image(price: object) -> None:
    settings = ReplicateSettings.model_validate({"model": MODEL, "price": price})

    assert settings.price is not None
    assert settings.price.per_image == Decimal("0.003")


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ValidationError):
        ReplicateSettings.model_validate({"model": MODEL, "price": -1})


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        ReplicateSettings.model_validate({"model": MODEL, "modle": 1})
