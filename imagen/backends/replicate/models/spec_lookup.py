"""Which inputs a backend's model takes: from the table, or from Replicate itself and remembered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.rate_gate import RateGate, Tick
from imagen.backends.replicate.api.refusals import refusal_of
from imagen.backends.replicate.models.known_models import ModelSpec, known_spec
from imagen.backends.replicate.models.model_spec import spec_of_version
from imagen.backends.replicate.models.request_plan import check_value, require_free_input
from imagen.backends.replicate.models.secret_inputs import refusal
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.errors import BackendRejected, BackendUnavailable, ConfigError, RequestError
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

_REMEMBERED_S = 3600.0
_TIMEOUT_S = 20.0


class SpecLookup:
    """The spec of one backend's model. Threads share it."""

    def __init__(
        self, client: Client, gate: RateGate, settings: ReplicateSettings, *, name: str
    ) -> None:
        self._client = client
        self._gate = gate
        self._settings = settings
        self._name = name
        self._lock = threading.Lock()
        self._live: tuple[float, ModelSpec] | None = None
        known = self.known()
        if known is not None:
            require_usable(settings, known, name=name)

    def known(self) -> ModelSpec | None:
        """The table's spec; nothing for another model, or for a version of one."""
        return None if self._settings.version else known_spec(self._settings.owner_and_name)

    def get(self, tick: Tick) -> ModelSpec:
        """The spec to draw by; asks Replicate once an hour where the table has none.

        Raises:
            BackendUnavailable, CredentialError, RateLimited: it could not be asked.
            BackendRejected: there is no such model, or it tells no inputs.
            ConfigError: the settings' inputs are none of the model's.
        """
        known = self.known()
        if known is not None:
            return known
        with self._lock:
            live = self._live
        if live is not None and boottime_s() - live[0] < _REMEMBERED_S:
            return live[1]
        spec = self._fetch(tick)
        require_usable(self._settings, spec, name=self._name)
        with self._lock:
            self._live = (boottime_s(), spec)
        return spec

    def _fetch(self, tick: Tick) -> ModelSpec:
        version = self._settings.version
        path = f"/models/{self._settings.owner_and_name}"
        model = self._ask(path, tick)
        described = (
            self._ask(f"{path}/versions/{version}", tick)
            if version
            else model.get("latest_version")
        )
        # A model that is silent about being official is taken at its owner's word.
        is_official = version is not None or model.get("is_official") is not False
        spec = None
        if isinstance(described, Mapping):
            spec = spec_of_version(described, is_official=is_official)
        if spec is None:
            raise BackendRejected(f"Replicate tells no inputs of {self._settings.model}")
        if not spec.is_official:
            hash_ = spec.version or "VERSION"
            raise BackendRejected(
                f"{self._settings.model} is not an official model, so its version must be named",
                f"set model of backend {self._name!r} to {self._settings.owner_and_name}:{hash_}",
            )
        return spec

    def _ask(self, path: str, tick: Tick) -> Mapping[str, Any]:
        self._gate.wait("call", tick)
        try:
            answer = self._client.get(path, timeout_s=_TIMEOUT_S)
        except Unanswered as exc:
            raise self._unavailable(exc.reason) from None
        if answer.is_success and isinstance(answer.body, Mapping):
            return answer.body
        raise self._refusal(answer)

    def _refusal(self, answer: ApiAnswer) -> Exception:
        if answer.status >= 500 or answer.is_success:
            return self._unavailable(f"it answered {answer.status}")
        return refusal_of(answer, self._settings, name=self._name)

    def _unavailable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"backend {self._name!r} not reachable at {self._settings.base_url}: {reason}",
            "nothing was sent; is this host online?",
        )


def require_usable(settings: ReplicateSettings, spec: ModelSpec, *, name: str) -> None:
    """Raises ConfigError where the settings' steps or inputs are none of the model's."""
    try:
        for key, value in settings.input.items():
            require_free_input(key, spec, model=settings.model)
            if spec.inputs[key].is_secret:
                raise refusal(key, ())
            check_value(key, value, spec, settings.model)
        for key in settings.input_env:
            require_free_input(key, spec, model=settings.model)
    except RequestError as exc:
        raise ConfigError(f"backend {name!r}, input: {exc.message}", exc.hint) from None
    steps = settings.default_steps
    if steps is None:
        return
    if spec.steps_input is None:
        raise ConfigError(f"backend {name!r}: {settings.model} takes no default_steps")
    try:
        check_value(spec.steps_input, steps, spec, settings.model)
    except RequestError as exc:
        raise ConfigError(f"backend {name!r}, default_steps: {exc.message}", exc.hint) from None
