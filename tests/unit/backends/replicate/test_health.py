"""A check reports whether the backend can draw, why not, and what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from imagen.backends.replicate import health
from imagen.backends.replicate.backend import ReplicateBackend
from tests.fakes.replicate import FakeReplicate

Build = Callable[..., ReplicateBackend]


def test_a_backend_that_can_draw_names_its_model_and_account(build: Build) -> None:
    assert str(build().check()) == "ok: black-forest-labs/flux-schnell, account tester"


def test_without_a_token_it_is_not_configured_and_makes_no_call(
    build: Build, fake: FakeReplicate
) -> None:
    assert str(build(env={}).check()) == "not configured (set REPLICATE_API_TOKEN)"
    assert not fake.calls


def test_a_refused_token_is_not_configured(build: Build) -> None:
    found = build(env={"REPLICATE_API_TOKEN": "wrong-token"}).check()

    assert found.state == "not configured"
    assert "REPLICATE_API_TOKEN" in str(found)
    assert "wrong-token" not in f"{found} {found.reason}"


def test_an_unknown_model_is_named(build: Build) -> None:
    assert "acme/nothing" in str(build(model="acme/nothing").check())


def test_a_model_that_needs_its_version_says_how_to_write_it(build: Build) -> None:
    assert "acme/painter:VERSION" in str(build(model="acme/painter").check())


def test_a_refused_connection_is_unreachable(build: Build) -> None:
    found = build(base_url="http://127.0.0.1:9").check()

    assert found.state == "unreachable"
    assert "connection refused" in found.reason


def test_a_server_that_never_answers_is_unreachable_in_time(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_CALL_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        found = build(base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}").check()

    assert found.state == "unreachable"
    assert "timed out" in found.reason


def test_a_name_server_that_never_answers_is_cut_short(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_LIMIT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        found = build(base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}").check()

    assert found.state == "unreachable"
    assert "within 0.1 s" in found.reason


def test_an_unknown_or_old_price_is_a_warning(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = SimpleNamespace(now=lambda zone: datetime(2027, 6, 1, tzinfo=UTC))
    unknown = build(model=f"acme/painter:{'a' * 64}").check()
    monkeypatch.setattr(health, "datetime", later)
    old = build().check()

    assert unknown.is_ok
    assert "unknown" in unknown.warnings[0]
    assert old.is_ok
    assert str(date(2026, 9, 18)) in old.warnings[0]
