"""The inputs of a backend's model: from the built-in table, or from Replicate once an hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.api.rate_gate import RateGate, Tick
from imagen.backends.replicate.api.refusals import refusal_of, unreachable
from imagen.backends.replicate.models.input_values import check_value, require_settable
from imagen.backends.replicate.models.known_models import known_models
from imagen.backends.replicate.models.model_spec import ModelSpec, spec_of_version
from imagen.backends.replicate.models.secret_inputs import secret_refusal
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.errors import BackendRejected, ConfigError, RequestError
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
        self._fetched: tuple[float, ModelSpec] | None = None
        #: The table's spec; None for another model, or for a version of one.
        self.known = None if settings.version else known_models().get(settings.owner_and_name)
        if self.known is not None:
            require_usable(settings, self.known, name=name)

    def get(self, tick: Tick) -> ModelSpec:
        """The spec to draw by; asks Replicate once an hour where the table has none.

        Raises:
            BackendUnavailable, CredentialError, RateLimited: Replicate could not be asked.
            BackendRejected: there is no such model, or its inputs are not known.
            ConfigError: the settings' inputs are none of the model's.
        """
        if self.known is not None:
            return self.known
        fetched = self._fetched
        if fetched is not None and boottime_s() - fetched[0] < _REMEMBERED_S:
            return fetched[1]
        spec = self._fetch(tick)
        require_usable(self._settings, spec, name=self._name)
        self._fetched = (boottime_s(), spec)
        return spec

    def _fetch(self, tick: Tick) -> ModelSpec:
        settings = self._settings
        path = f"/models/{settings.owner_and_name}"
        model = self._ask(path, tick)
        version = model.get("latest_version")
        if settings.version:
            version = self._ask(f"{path}/versions/{settings.version}", tick)
        # A model that does not say whether it is official may be called by its name.
        is_official = settings.version is not None or model.get("is_official") is not False
        spec = None
        if isinstance(version, Mapping):
            spec = spec_of_version(version, is_official=is_official)
        if spec is None:
            raise BackendRejected(f"Replicate shows no inputs of {settings.model}")
        if not spec.is_official:
            raise BackendRejected(
                f"{settings.model} is not an official model, so its version must be named",
                f"set model of backend {self._name!r} to"
                f" {settings.owner_and_name}:{spec.version or 'VERSION'}",
            )
        return spec

    def _ask(self, path: str, tick: Tick) -> Mapping[str, Any]:
        self._gate.wait("call", tick)
        try:
            answer = self._client.get(path, timeout_s=_TIMEOUT_S)
        except Unanswered as exc:
            raise unreachable(self._settings, name=self._name, reason=exc.reason) from None
        if answer.is_success and isinstance(answer.body, Mapping):
            return answer.body
        if answer.status >= 500 or answer.is_success:
            reason = f"it answered {answer.status}"
            raise unreachable(self._settings, name=self._name, reason=reason)
        raise refusal_of(answer, self._settings, name=self._name)


def require_usable(settings: ReplicateSettings, spec: ModelSpec, *, name: str) -> None:
    """Raises ConfigError where the settings' steps or inputs are none of the model's."""
    what = "input"
    try:
        for key in (*settings.input, *settings.input_env):
            require_settable(key, spec, model=settings.model)
        for key, value in settings.input.items():
            if spec.inputs[key].is_secret:
                raise secret_refusal(key, ())
            check_value(key, value, spec, model=settings.model)
        if settings.default_steps is not None:
            what = "default_steps"
            if spec.steps_input is None:
                raise RequestError(f"{settings.model} takes no default_steps")
            check_value(spec.steps_input, settings.default_steps, spec, model=settings.model)
    except RequestError as exc:
        raise ConfigError(f"backend {name!r}, {what}: {exc.message}", exc.hint) from None
