"""The checked settings of a ``type: replicate`` backend."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from imagen.domain.secret_names import is_secret_name
from imagen.http.loopback import is_loopback, is_loopback_url

OFFICIAL_URL = "https://api.replicate.com"
# Source: replicate.com/docs/topics/predictions/output-files (read 2026-11).
OFFICIAL_DOWNLOAD_HOSTS = ("replicate.delivery",)

_MODEL = re.compile(r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?::([0-9a-f]{64}))?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _require_variable(name: str) -> str:
    if name.startswith("r8_") or not _VARIABLE.fullmatch(name):
        raise ValueError(
            "this must be the name of an environment variable, never the secret itself"
        )
    return name


Variable = Annotated[str, AfterValidator(_require_variable)]
Dollars = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class UnitPrices(BaseModel):
    """What a model costs, in US dollars per unit; units that do not apply cost 0.

    ``read_on`` is the day on which the prices were read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_image: Dollars = Decimal(0)
    per_run: Dollars = Decimal(0)
    per_output_megapixel: Dollars = Decimal(0)
    per_input_megapixel: Dollars = Decimal(0)
    read_on: date | None = None


class ReplicateSettings(BaseModel):
    """One Replicate backend. It holds the name of the token's variable, never the token.

    Attributes:
        model: ``owner/name`` of an official model, or ``owner/name:version`` of any other.
        timeout_s: seconds a prediction may run, counted from its start; by model where unset.
        start_timeout_s: seconds it may wait to be started (models that are not official boot).
        input: further model inputs of every request; ``--opt`` wins over them.
        input_env: by model input that is a secret, the variable that holds its value.
        price: replaces the built-in price; a number is a price per image.
        post_timeout_s: seconds that a create call may take at most.
        settle_s: seconds after a lost answer in which a prediction may still appear in the list.
        patience_s: seconds that a worker waits through rate limits and failing polls.
    """

    # A wrong value may be a token in the wrong line, so the error does not quote it.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=()
    )

    model: str
    api_token_env: Variable = "REPLICATE_API_TOKEN"  # noqa: S105 - the variable's name, not a token
    default_steps: Annotated[int, Field(ge=1)] | None = None
    timeout_s: Seconds | None = None
    start_timeout_s: Seconds = 300.0
    input: dict[str, JsonValue] = Field(default_factory=dict)
    input_env: dict[str, Variable] = Field(default_factory=dict)
    base_url: str = OFFICIAL_URL
    download_hosts: tuple[str, ...] = OFFICIAL_DOWNLOAD_HOSTS
    price: UnitPrices | None = None
    post_timeout_s: Seconds = 30.0
    settle_s: Seconds = 10.0
    patience_s: Seconds = 120.0
    creates_per_minute: Annotated[int, Field(ge=1)] = 600
    calls_per_minute: Annotated[int, Field(ge=1)] = 3000

    @field_validator("model")
    @classmethod
    def _require_model(cls, value: str) -> str:
        if not _MODEL.fullmatch(value):
            raise ValueError(
                "model must be owner/name, or owner/name:version with the version's 64 hex digits"
                " (':latest' is not one)"
            )
        return value

    @field_validator("input")
    @classmethod
    def _keep_secrets_out(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in filter(is_secret_name, value):
            raise ValueError(
                f"{name} is a secret, which never stands in the file;"
                f" set input_env: {{{name}: {name.upper()}}} and export the variable"
            )
        return value

    @model_validator(mode="after")
    def _name_each_input_once(self) -> Self:
        for name in self.input.keys() & self.input_env.keys():
            raise ValueError(f"{name} stands in both input and input_env")
        return self

    @field_validator("base_url")
    @classmethod
    def _require_safe_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
            raise ValueError(f"base_url must be a plain URL such as {OFFICIAL_URL}")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("base_url must start with https:// (http only on this machine)")
        return value.rstrip("/").removesuffix("/v1")

    @field_validator("download_hosts")
    @classmethod
    def _require_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host or "/" in host or "@" in host or "*" in host:
                raise ValueError(
                    "download_hosts holds host names (hosts below them included),"
                    " such as replicate.delivery"
                )
        return tuple(host.lower() for host in value)

    @field_validator("price", mode="before")
    @classmethod
    def _read_bare_price(cls, value: Any) -> Any:
        is_number = isinstance(value, int | float | Decimal | str) and not isinstance(value, bool)
        return {"per_image": value} if is_number else value

    @property
    def owner_and_name(self) -> str:
        return self.model.partition(":")[0]

    @property
    def version(self) -> str | None:
        return self.model.partition(":")[2] or None

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine (a fake or a tunnel), where plain http is allowed."""
        return is_loopback_url(self.base_url)
