"""The headers for a reverse proxy come from one variable and are never shown."""

from __future__ import annotations

import pytest

from imagen.backends.comfyui.server.http_transport import read_headers
from imagen.errors import CredentialError


def test_without_a_variable_there_are_no_headers() -> None:
    assert read_headers("", {}) == {}


def test_a_bare_value_is_a_bearer_token() -> None:
    headers = read_headers("PROXY", {"PROXY": "test-token\n"})

    assert headers == {"Authorization": "Bearer test-token"}


def test_header_lines_are_taken_as_they_are() -> None:
    headers = read_headers("PROXY", {"PROXY": "X-Key: test-token\n\n CF-Id:  7 \n"})

    assert headers == {"X-Key": "test-token", "CF-Id": "7"}


@pytest.mark.parametrize("value", ["", "X-Key: test-token\nnonsense", "test-token-é", "a\x00b"])
def test_a_value_that_cannot_be_sent_names_the_variable_only(value: str) -> None:
    with pytest.raises(CredentialError, match="PROXY") as caught:
        read_headers("PROXY", {"PROXY": value})

    assert "test-token" not in str(caught.value)
