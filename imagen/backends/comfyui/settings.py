"""What a ``type: comfyui`` backend may say in the configuration."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: ComfyUI's own upper bound for the steps of a sampler or scheduler.
MAX_STEPS = 10_000


class ComfyUISettings(BaseModel):
    """The sub-block of one backend. Empty and unset mean the workflow's own value.

    Attributes:
        url: where ComfyUI listens; may have a path (a reverse proxy's).
        workflow: a built-in's name, or the path of a JSON file in ComfyUI's API format.
        model, clip_t5, clip_l, vae, checkpoint, weight_dtype: files, and the precision they are
            loaded in, put in place of the workflow's own.
        default_steps, guidance, sampler, scheduler: used where a request does not say.
        timeout_s: longest a prompt may execute; waiting in the server's queue does not count.
        stall_s: longest a running prompt may go without any sign of life. Loading a large
            model from a slow disk gives none.
        restart_wait_s: longest the server may be gone in the middle of a prompt.
        headers_env: name of the variable with the headers (``Name: value`` lines) or the bearer
            token that a reverse proxy wants.
        bind: for your own workflow: which node inputs take what, such as ``prompt: "6.text"``.
    """

    # An error must not repeat the input: a url may hold a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = "http://127.0.0.1:8188"
    workflow: str = Field(default="flux-schnell", min_length=1)
    model: str = ""
    clip_t5: str = ""
    clip_l: str = ""
    vae: str = ""
    checkpoint: str = ""
    weight_dtype: str = ""
    default_steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    guidance: float | None = Field(default=None, ge=0, le=100)
    sampler: str = ""
    scheduler: str = ""
    timeout_s: float = Field(default=900.0, gt=0)
    stall_s: float = Field(default=300.0, gt=0)
    restart_wait_s: float = Field(default=120.0, ge=0)
    headers_env: str = ""
    bind: dict[str, str | list[str]] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _plain_http_url(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http:// or https:// url, such as http://127.0.0.1:8188")
        if parts.username or parts.password:
            # The url is shown in messages and kept with every attempt.
            raise ValueError("must not hold a password; name a variable in headers_env instead")
        if parts.query or parts.fragment:
            raise ValueError("must not have a query or a fragment")
        _ = parts.port  # Raises ValueError when it is no port number.
        return value.strip().rstrip("/")

    def files(self) -> dict[str, str]:
        """The file settings that are set, by name."""
        names = ("model", "clip_t5", "clip_l", "vae", "checkpoint", "weight_dtype")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def default_options(self) -> dict[str, str]:
        """The settings that a request may override with ``--opt``, as it would write them."""
        options = {"sampler": self.sampler, "scheduler": self.scheduler}
        if self.guidance is not None:
            options["guidance"] = f"{self.guidance:g}"
        return {name: text for name, text in options.items() if text}
