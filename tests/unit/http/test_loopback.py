"""Which addresses are this machine."""

from __future__ import annotations

import pytest

from imagen.http.loopback import is_loopback, is_loopback_url


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "a.localhost", "127.0.0.9", "::1"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "x", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_another_machine_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_url_is_judged_by_its_host() -> None:
    assert is_loopback_url("http://[::1]:8188/x")
    assert not is_loopback_url("http://example.com/localhost")
    assert not is_loopback_url("http://[::1")
