"""The configured backends by name, each built when it is first used."""

from __future__ import annotations

import difflib
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from imagen.backends.adapter import AdapterContext
from imagen.backends.installed import AdapterOrigin, InstalledAdapters
from imagen.domain.protocols import Backend
from imagen.errors import ConfigError, ImagenError, RequestError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackendSpec:
    """A configured backend before it is built: ``settings`` is its adapter's sub-block.

    ``queue`` is the one that the configuration names; None is the adapter's default.
    """

    name: str
    type: str
    queue: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Registry:
    """The configured backends by name. Threads may share it."""

    def __init__(
        self, specs: Iterable[BackendSpec], context: AdapterContext, adapters: InstalledAdapters
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._context = context
        self._adapters = adapters
        self._lock = threading.Lock()
        self._built: dict[str, Backend] = {}

    def names(self) -> list[str]:
        """The configured backends, in the order of the configuration."""
        return list(self._specs)

    def types(self) -> dict[str, AdapterOrigin]:
        """Every installed type with its origin, broken ones included. Imports all adapters."""
        return self._adapters.origins()

    def spec(self, name: str) -> BackendSpec:
        """What the configuration says about a backend.

        Raises:
            RequestError: there is no backend of this name; the hint lists those there are.
        """
        if name not in self._specs:
            near = difflib.get_close_matches(name, self._specs, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise RequestError(
                f"unknown backend {name!r}{guess}",
                f"configured backends: {', '.join(self._specs) or 'none'}",
            )
        return self._specs[name]

    def queue_of(self, name: str) -> str:
        """The queue that a backend's jobs go to.

        Raises:
            RequestError: there is no backend of this name.
            ConfigError: its type is not installed or broken.
        """
        spec = self.spec(name)
        return spec.queue or self._adapters.load(spec.type).default_queue

    def get(self, name: str) -> Backend:
        """The backend called ``name``; the first call builds it.

        Raises:
            RequestError: there is no backend of this name.
            ConfigError: its type is not installed or broken, or its settings are wrong.
        """
        spec = self.spec(name)
        with self._lock:
            if name not in self._built:
                self._built[name] = self._build(spec)
            return self._built[name]

    def sharing_account(self, name: str) -> list[str]:
        """``name`` itself, and the other backends of its type that spend the same credit.

        Builds those of its type; one that cannot be built is left out.

        Raises:
            RequestError, ConfigError: as ``get``.
        """
        account = _account_of(self.get(name))
        if account is None:
            return [name]
        type_name = self._specs[name].type
        siblings = [
            spec.name
            for spec in self._specs.values()
            if spec.type == type_name and spec.name != name
        ]
        return [name, *(other for other in siblings if self._spends(other, account))]

    def close(self) -> None:
        """Close every backend that was built. Calling it twice is safe."""
        with self._lock:
            built, self._built = self._built, {}
        for name, backend in built.items():
            try:
                backend.close()
            except Exception:
                # One adapter's failure must not keep the others' connections open.
                logger.exception("backend_close_failed", extra={"backend": name})

    def _spends(self, name: str, account: str) -> bool:
        try:
            return _account_of(self.get(name)) == account
        except ConfigError:
            return False

    def _build(self, spec: BackendSpec) -> Backend:
        adapter = self._adapters.load(spec.type)
        try:
            settings = adapter.settings_type.model_validate(dict(spec.settings))
        except ValidationError as exc:
            raise ConfigError(_refused_settings(spec, exc), "try: imagen config validate") from exc
        try:
            return adapter.build(spec.name, settings, self._context)
        except ImagenError:
            raise
        except Exception as exc:
            raise ConfigError(
                f"backend {spec.name!r}: its adapter {spec.type!r} failed to build it:"
                f" {type(exc).__name__}: {exc}"
            ) from exc


def _account_of(backend: Backend) -> str | None:
    # Called while a failure is handled: an adapter without the attribute must not cause another.
    return getattr(backend, "account", None)


def _refused_settings(spec: BackendSpec, error: ValidationError) -> str:
    """The message about settings that the adapter refused; without values, which may be secret."""
    details = error.errors(include_url=False, include_input=False)
    listed = "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'its settings'}: {each['msg']}" for each in details
    )
    return f"backend {spec.name!r}: {listed}"
