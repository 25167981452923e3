"""Inputs of a model that are secrets: from the environment into the call, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagen.backends.replicate.models.known_models import ModelSpec
from imagen.domain.secret_names import SET, is_secret_name
from imagen.errors import CredentialError, SecretOption


@dataclass(frozen=True)
class SecretInputs:
    """The inputs of one backend that ``input_env`` names.

    Attributes:
        variables: the variable that holds each input's value.
        env: the environment of this process.
    """

    variables: Mapping[str, str]
    env: Mapping[str, str] = field(repr=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """The variables that are not set here."""
        return tuple(name for name in self.variables.values() if not self.env.get(name))

    @property
    def shown(self) -> dict[str, str]:
        """The inputs as they are recorded."""
        return dict.fromkeys(self.variables, SET)

    @property
    def held(self) -> tuple[str, ...]:
        """The values that are set here, so that messages can leave them out."""
        return tuple(value for name in self.variables.values() if (value := self.env.get(name)))

    def values(self, *, backend: str) -> dict[str, str]:
        """The inputs with their values, for the call alone.

        Raises:
            CredentialError: a variable is not set.
        """
        if self.missing:
            raise CredentialError(
                f"backend {backend!r} needs {self.missing[0]}, which its input_env names",
                f"export {self.missing[0]}=…",
            )
        return {name: self.env[variable] for name, variable in self.variables.items()}

    def refuse_as_options(self, options: Mapping[str, Any], spec: ModelSpec | None) -> None:
        """Nothing, unless an option would hold a secret; ``spec`` where it is known already.

        Raises:
            SecretOption: it would be stored with the job and the image.
        """
        held = [
            name
            for name in options
            if name in self.variables or is_secret_name(name) or is_secret_input(name, spec)
        ]
        if held:
            raise refusal(held[0], tuple(held), variable=self.variables.get(held[0]))


def refusal(name: str, names: tuple[str, ...], *, variable: str | None = None) -> SecretOption:
    """Why a secret is not taken as an option, and what to configure instead."""
    hint = (
        f"export it as {variable}, which input_env names"
        if variable
        else f"in the backend's configuration: input_env: {{{name}: {name.upper()}}}"
        f", and export {name.upper()}"
    )
    return SecretOption(
        f"input {name!r} is a secret: as an option it would be stored with the job and the image",
        hint,
        names,
    )


def is_secret_input(name: str, spec: ModelSpec | None) -> bool:
    """Whether the model itself calls this input a secret; no where it is not known yet."""
    known = spec.inputs.get(name) if spec is not None else None
    return known is not None and known.is_secret
