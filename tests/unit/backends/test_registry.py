"""Tests of imagen.backends.registry: backends found by name, built once, closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from pydantic import BaseModel, ConfigDict

from imagen.backends.adapter import AdapterContext
from imagen.backends.registry import BackendSpec, Registry
from imagen.domain.protocols import Backend
from imagen.errors import ConfigError, RequestError
from tests.fakes.adapters import install, unused_context


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = "http://127.0.0.1"


class Built:
    """As much of a backend as the registry touches."""

    def __init__(
        self, name: str, *, failing_close: bool = False, account: str | None = None
    ) -> None:
        self.name = name
        self.account = account
        self.closed = 0
        self._failing_close = failing_close

    def close(self) -> None:
        self.closed += 1
        if self._failing_close:
            raise OSError("connection reset")


class Stub:
    """An adapter that counts what it builds."""

    settings_type: type[BaseModel] = Settings

    def __init__(
        self, default_queue: str = "gpu", *, build: Callable[[str], Built] = Built
    ) -> None:
        self.default_queue = default_queue
        self.built: list[str] = []
        self._build = build

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> Backend:
        self.built.append(f"{name} {settings.url}")  # type: ignore[attr-defined]
        return cast("Backend", self._build(name))


def registry(*specs: BackendSpec, **adapters: Stub) -> Registry:
    return Registry(specs, unused_context(), install(**(adapters or {"stub": Stub()})))


def test_a_backend_is_built_once_and_not_before_it_is_asked_for() -> None:
    stub = Stub()
    reg = registry(BackendSpec("a", "stub", settings={"url": "x"}), stub=stub)
    assert stub.built == []

    first = reg.get("a")

    assert reg.get("a") is first
    assert stub.built == ["a x"]


def test_threads_that_ask_at_once_share_one_backend() -> None:
    stub = Stub()
    reg = registry(BackendSpec("a", "stub"), stub=stub)
    ready = threading.Barrier(8)

    def ask(_: int) -> Backend:
        ready.wait(10)
        return reg.get("a")

    with ThreadPoolExecutor(8) as pool:
        backends = list(pool.map(ask, range(8)))

    assert len(set(map(id, backends))) == 1
    assert len(stub.built) == 1


def test_names_keep_the_order_of_the_configuration() -> None:
    assert registry(BackendSpec("b", "stub"), BackendSpec("a", "stub")).names() == ["b", "a"]


def test_an_unknown_backend_is_a_request_error_with_a_near_miss_and_the_list() -> None:
    reg = registry(BackendSpec("mock", "stub"), BackendSpec("flux", "stub"))

    for ask in (reg.get, reg.queue_of, reg.spec):
        with pytest.raises(RequestError) as caught:
            ask("mokc")
        assert str(caught.value) == (
            "unknown backend 'mokc'; did you mean 'mock'? (configured backends: mock, flux)"
        )


def test_a_queue_is_the_adapters_unless_the_configuration_names_one() -> None:
    reg = registry(BackendSpec("a", "far"), BackendSpec("b", "far", queue="own"), far=Stub("cloud"))

    assert reg.queue_of("a") == "cloud"
    assert reg.queue_of("b") == "own"


def test_wrong_settings_are_a_config_error_that_names_keys_but_no_values() -> None:
    reg = registry(BackendSpec("a", "stub", settings={"urll": "hunter2", "url": 5}))

    with pytest.raises(ConfigError) as caught:
        reg.get("a")

    assert "backend 'a'" in str(caught.value)
    assert "urll" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_adapter_that_fails_to_build_is_a_config_error_that_names_it() -> None:
    def explode(name: str) -> Built:
        raise ZeroDivisionError("division by zero")

    reg = registry(BackendSpec("a", "stub"), stub=Stub(build=explode))

    with pytest.raises(ConfigError, match="backend 'a': its adapter 'stub' failed to build it"):
        reg.get("a")


def test_an_adapters_own_error_passes_as_it_is() -> None:
    def refuse(name: str) -> Built:
        raise ConfigError("workflow 'x' not found")

    reg = registry(BackendSpec("a", "stub"), stub=Stub(build=refuse))

    with pytest.raises(ConfigError, match=r"^workflow 'x' not found$"):
        reg.get("a")


def test_closing_closes_what_was_built_even_when_one_fails() -> None:
    reg = registry(
        BackendSpec("bad", "bad"),
        BackendSpec("good", "good"),
        BackendSpec("unused", "good"),
        bad=Stub(build=lambda name: Built(name, failing_close=True)),
        good=Stub(),
    )
    bad, good = reg.get("bad"), reg.get("good")

    reg.close()
    reg.close()

    assert (bad.closed, good.closed) == (1, 1)  # type: ignore[attr-defined]


def test_backends_of_one_account_are_known_to_share_its_credit() -> None:
    def build(name: str) -> Built:
        if name == "broken":
            raise ConfigError("no such model")
        return Built(name, account=name[:3])

    reg = registry(
        *(BackendSpec(name, "paid") for name in ("one-a", "two", "broken", "one-b")),
        BackendSpec("one-far", "other"),
        BackendSpec("free", "free"),
        BackendSpec("free-too", "free"),
        paid=Stub(build=build),
        other=Stub(build=build),
        free=Stub(),
    )

    assert reg.sharing_account("one-a") == ["one-a", "one-b"]
    assert reg.sharing_account("two") == ["two"]
    assert reg.sharing_account("free") == ["free"]


def test_types_of_a_registry_say_who_brought_them() -> None:
    assert {name: str(origin) for name, origin in registry().types().items()} == {
        "stub": "given 1.0"
    }
