"""What else could draw, asked quickly and in parallel."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from imagen.domain.drawn import Health
from imagen.errors import BackendUnavailable, ConfigError, CredentialError
from imagen.services.report.backend_health import (
    Alternative,
    check_backends,
    find_alternatives,
    require_usable_backend,
)


@dataclass
class Backend:
    health: Health

    def check(self) -> Health:
        return self.health


class Hanging:
    def check(self) -> Health:
        threading.Event().wait()
        raise AssertionError


class Buggy:
    def check(self) -> Health:
        raise RuntimeError("a bug")


@dataclass
class Spec:
    type: str


@dataclass
class FakeRegistry:
    """Backends by name; a name's first part is its type."""

    backends: dict[str, object] = field(default_factory=dict)

    def names(self) -> list[str]:
        return list(self.backends)

    def spec(self, name: str) -> Spec:
        return Spec(name.partition("-")[0])

    def get(self, name: str) -> object:
        found = self.backends[name]
        if isinstance(found, Exception):
            raise found
        return found


def test_one_of_each_other_type_is_offered_if_it_can_draw_or_says_what_it_lacks():
    registry = FakeRegistry(
        {
            "local-a": Backend(Health("unreachable")),
            "local-b": Backend(Health("ok")),
            "paid-a": Backend(Health("not configured", "no token", "set SOME_TOKEN")),
            "paid-b": Backend(Health("ok")),
            "mock": Backend(Health("ok")),
        }
    )

    assert find_alternatives(registry, "local-a") == [
        Alternative("mock"),
        Alternative("paid-a", "set SOME_TOKEN"),
    ]


def test_a_check_that_fails_hangs_or_cannot_be_built_spoils_nothing():
    registry = FakeRegistry(
        {
            "buggy": Buggy(),
            "hanging": Hanging(),
            "wrong": ConfigError("wrong", "fix it"),
            "fine": Backend(Health("ok")),
        }
    )
    found = check_backends(registry, registry.names(), patience_s=0.3)

    assert found["hanging"] is None
    assert found["fine"] == Health("ok")
    assert found["wrong"] == Health("not configured", "wrong", "fix it")
    buggy = found["buggy"]
    assert buggy is not None
    assert "RuntimeError" in buggy.reason


def test_a_backend_that_cannot_draw_is_refused_with_its_reason():
    registry = FakeRegistry(
        {
            "away": Backend(Health("unreachable", "backend 'away' not there", "start it")),
            "bare": Backend(Health("not configured", "", "set SOME_TOKEN")),
            "fine": Backend(Health("ok")),
        }
    )
    with pytest.raises(BackendUnavailable) as away:
        require_usable_backend(registry, "away")
    with pytest.raises(CredentialError) as bare:
        require_usable_backend(registry, "bare")
    require_usable_backend(registry, "fine")

    assert str(away.value) == "backend 'away' is unreachable: not there (start it)"
    assert bare.value.message == "backend 'bare' is not configured: set SOME_TOKEN"
