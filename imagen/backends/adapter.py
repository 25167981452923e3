"""The protocol of adapters: built-in and third-party backend types implement it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from imagen.domain.protocols import AttemptIndex, Backend, Durations, Limiter


@dataclass(frozen=True)
class AdapterContext:
    """What an adapter may use besides its own sub-block of the configuration."""

    env: Mapping[str, str]
    limiter: Limiter
    durations: Durations
    attempts: AttemptIndex


class Adapter(Protocol):
    """The code of a backend type, which an ``imagen.backends`` entry point names.

    Attributes:
        default_queue: the queue of its jobs unless the configuration names another;
            ``gpu`` where the work is done by this host's hardware, ``cloud`` where it is not.
        settings_type: the pydantic model of its sub-block (``type`` and ``queue`` taken out).
    """

    default_queue: str
    settings_type: type[BaseModel]

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> Backend:
        """The backend called ``name``. No I/O: ``check`` and ``generate`` report a missing token.

        Raises:
            ConfigError: the settings contradict each other.
        """
