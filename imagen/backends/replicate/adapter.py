"""The door through which ``type: replicate`` comes in."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate.backend import ReplicateBackend
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.protocols import Backend
from imagen.errors import ConfigError


@dataclass(frozen=True)
class ReplicateAdapter:
    """See ``imagen.backends.adapter.Adapter``."""

    default_queue: str = "cloud"
    settings_type: type[BaseModel] = ReplicateSettings

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> Backend:
        """The backend called ``name``; no I/O.

        Raises:
            ConfigError: the model is known not to take the settings' steps or inputs.
        """
        if not isinstance(settings, ReplicateSettings):
            raise ConfigError(f"backend {name!r}: these are not settings of type replicate")
        return ReplicateBackend(name, settings, context)


adapter = ReplicateAdapter()
