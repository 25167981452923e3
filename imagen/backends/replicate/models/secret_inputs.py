"""Inputs of a model that are secrets: read from the environment for the call, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagen.backends.replicate.models.model_spec import ModelSpec
from imagen.domain.secret_names import SET, is_secret_name
from imagen.errors import CredentialError, SecretOption


@dataclass(frozen=True)
class SecretInputs:
    """The inputs of one backend that ``input_env`` names.

    Attributes:
        variables: by input, the environment variable that holds its value.
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
        """The inputs as they are recorded, without their values."""
        return dict.fromkeys(self.variables, SET)

    @property
    def held(self) -> tuple[str, ...]:
        """The values that are set here; no message may quote them."""
        return tuple(value for name in self.variables.values() if (value := self.env.get(name)))

    def values(self, *, backend: str) -> dict[str, str]:
        """The inputs with their values, for the create call alone.

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
        """Raises SecretOption for an option that holds a secret, as options are stored.

        ``spec`` is None as long as the model's inputs are not known.
        """
        secrets = tuple(
            name
            for name in options
            if name in self.variables or is_secret_name(name) or is_secret_input(name, spec)
        )
        if secrets:
            raise secret_refusal(secrets[0], secrets, variable=self.variables.get(secrets[0]))


def secret_refusal(
    name: str, names: tuple[str, ...], *, variable: str | None = None
) -> SecretOption:
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
    """Whether the model's schema marks this input as a secret; False without a schema."""
    known = spec.inputs.get(name) if spec is not None else None
    return known is not None and known.is_secret
