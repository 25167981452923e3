"""The shape of imagen.yaml: every key, its default and its range."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from imagen.config.addresses import broker_address
from imagen.config.locations import BUILT_IN, KeyPath, Location
from imagen.config.values import (
    Flag,
    Folders,
    Format,
    Metadata,
    Name,
    QueueName,
    Seconds,
    SizeText,
    Slots,
    Switch,
    UserId,
    url_with,
)
from imagen.domain.size import parse_size
from imagen.domain.style import Style
from imagen.errors import RequestError


def _nothing_is_empty(value: object) -> object:
    """Entries without a value become empty ones: ``draft:`` alone is a style without wording."""
    if not isinstance(value, dict):
        return value
    return {key: {} if entry is None else entry for key, entry in value.items()}


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_default=False
    )

    @model_validator(mode="before")
    @classmethod
    def _no_value_is_the_default(cls, data: Any) -> Any:
        # `styles:` with every line below it commented out is null in YAML: the default applies.
        if not isinstance(data, dict):
            return data
        opaque = cls.model_config.get("extra") == "allow"
        return {
            key: value
            for key, value in data.items()
            if value is not None or not (opaque or key in cls.model_fields)
        }


class BackendEntry(_Section):
    """One backend: its type, and what only the adapter of that type understands."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(min_length=1)]
    queue: QueueName | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The adapter's own sub-block, unchecked."""
        return dict(self.model_extra or {})


class StyleEntry(_Section):
    prefix: str = ""
    suffix: str = ""
    negative: str = ""
    size: SizeText = ""
    steps: Annotated[int, Field(ge=0, le=10_000)] = 0
    backend: str = ""


class OutputConfig(_Section):
    dir: str = "."
    naming: Annotated[str, Field(min_length=1)] = "{date}-{time}-{slug}-{seed}.{ext}"
    format: Format = "png"
    sidecar: Flag = True
    metadata: Metadata = "full"
    preview: Switch = "auto"
    preview_command: str = ""
    cloud_sync: Switch = "auto"


class QueueConfig(_Section):
    # Out of the repr, as the address may hold a password.
    broker_url: Annotated[
        str,
        Field(repr=False),
        url_with(("redis", "rediss", "redis+socket", "unix")),
        AfterValidator(broker_address),
    ] = ""
    window: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000


class DatabaseConfig(_Section):
    url: Annotated[
        str,
        Field(repr=False),
        url_with(("sqlite", "postgresql", "postgres", "postgresql+psycopg")),
    ] = ""
    in_supabase: Switch = "auto"


class ResultsConfig(_Section):
    """``allowed_dirs``: None means the home and the temporary folder of the delivering user."""

    allowed_dirs: Folders | None = None
    disk_patience_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3600.0


class ArtifactsConfig(_Section):
    max_bytes: Annotated[int, Field(ge=1)] = 2_147_483_648


class ConcurrencyConfig(_Section):
    gpu: Slots = 2
    cloud: Slots = 16
    results: Slots = 4


class WorkersConfig(_Section):
    lease_s: Seconds = 30.0
    heartbeat_s: Seconds | None = None
    grace_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 4
    max_crashes: Annotated[int, Field(ge=1, le=100)] = 5
    rate_limit_patience_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 900.0
    unavailable_patience_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0
    check_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 5.0
    backoff_base_s: Seconds = 2.0
    backoff_max_s: Seconds = 120.0
    reconcile_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 1.0
    concurrency: ConcurrencyConfig = ConcurrencyConfig()

    @property
    def heartbeat_every_s(self) -> float:
        """Seconds between two renewals of a lease: as set, else a third of the lease."""
        return self.lease_s / 3 if self.heartbeat_s is None else self.heartbeat_s

    @model_validator(mode="after")
    def _times_fit_together(self) -> Self:
        if self.heartbeat_every_s >= self.lease_s:
            raise ValueError(
                f"heartbeat_s ({self.heartbeat_every_s:g}) must be less than"
                f" lease_s ({self.lease_s:g}), or every lease runs out"
            )
        if self.backoff_max_s < self.backoff_base_s:
            raise ValueError(
                f"backoff_max_s ({self.backoff_max_s:g}) is less than"
                f" backoff_base_s ({self.backoff_base_s:g})"
            )
        return self


_LOCAL_URL = "http://127.0.0.1:8188"
_TOKEN_ENV = "REPLICATE_API_TOKEN"  # noqa: S105 - the variable's name, not a token

#: The backends of the shipped sample, which a file adds to by name.
BUILT_IN_BACKENDS: Mapping[str, Mapping[str, Any]] = {
    "flux-schnell-local": {
        "type": "comfyui",
        "url": _LOCAL_URL,
        "workflow": "flux-schnell",
        "default_steps": 4,
    },
    "flux-dev-local": {
        "type": "comfyui",
        "url": _LOCAL_URL,
        "workflow": "flux-dev",
        "default_steps": 20,
    },
    "flux-schnell-replicate": {
        "type": "replicate",
        "model": "black-forest-labs/flux-schnell",
        "api_token_env": _TOKEN_ENV,
    },
    "flux-dev-replicate": {
        "type": "replicate",
        "model": "black-forest-labs/flux-dev",
        "api_token_env": _TOKEN_ENV,
    },
    "mock": {"type": "mock"},
}


def _built_in_backends() -> dict[str, BackendEntry]:
    return {
        name: BackendEntry.model_validate(dict(block)) for name, block in BUILT_IN_BACKENDS.items()
    }


def _built_in_styles() -> dict[str, StyleEntry]:
    return {
        "blog-header": StyleEntry(
            suffix=", wide editorial illustration, soft light",
            negative="text, watermark",
            size="1536x768",
        )
    }


class Config(_Section):
    """All settings of a file, the environment and the defaults. Knows no adapter."""

    default_backend: Annotated[str, Field(min_length=1)] = "flux-schnell-local"
    owner_user_id: UserId = ""
    backends: dict[Name, BackendEntry] = Field(default_factory=_built_in_backends)
    styles: dict[Name, StyleEntry] = Field(default_factory=_built_in_styles)
    output: OutputConfig = OutputConfig()
    queue: QueueConfig = QueueConfig()
    database: DatabaseConfig = DatabaseConfig()
    results: ResultsConfig = ResultsConfig()
    artifacts: ArtifactsConfig = ArtifactsConfig()
    workers: WorkersConfig = WorkersConfig()

    _locations: Mapping[KeyPath, Location] = PrivateAttr(default_factory=dict)

    @field_validator("backends", "styles", mode="before")
    @classmethod
    def _entries_without_a_value(cls, value: Any) -> Any:
        return _nothing_is_empty(value)

    def with_locations(self, locations: Mapping[KeyPath, Location]) -> Self:
        """The same configuration with the locations of its values."""
        placed = self.model_copy()
        placed._locations = locations
        return placed

    @property
    def locations(self) -> Mapping[KeyPath, Location]:
        """Where each value that is not built in was written."""
        return self._locations

    def where(self, path: KeyPath) -> str:
        """Where the value at ``path`` comes from.

        Such as ``imagen.yaml:12``, ``environment IMAGEN_BROKER_URL`` or ``built-in``.
        """
        return str(self._locations.get(path, BUILT_IN))

    def style(self, name: str) -> Style:
        """The style called ``name``.

        Raises:
            RequestError: it is not configured; the hint lists those that are.
        """
        entry = self.styles.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, self.styles, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(sorted(self.styles)) or "none; add one under 'styles:'"
            raise RequestError(f"unknown style {name!r}{guess}", f"configured styles: {known}")
        return Style(
            name=name,
            prefix=entry.prefix,
            suffix=entry.suffix,
            negative=entry.negative,
            size=parse_size(entry.size) if entry.size else None,
            steps=entry.steps or None,
            backend=entry.backend,
        )
