"""The settings of a mock backend: its price, its speed and the errors it makes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class MockSettings(BaseModel):
    """By default it draws at once, free of charge, without errors.

    The ``..._if_contains`` settings look for their text in the prompt; "" matches no prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="mock-landscape", min_length=1)
    default_steps: int = Field(default=4, ge=1, le=1000)
    #: How long a drawing pretends to take, spread over its steps.
    latency_ms: int = Field(default=0, ge=0)
    #: A price for each image, which makes this a paid backend: announced, submitted, resumed.
    cost_usd: Decimal | None = Field(default=None, gt=0)

    #: The first so many tries of a job are told to wait ``retry_after_s``.
    rate_limit_first: int = Field(default=0, ge=0)
    retry_after_s: float = Field(default=1.0, ge=0)
    #: So many tries after those find the backend unavailable.
    fail_first: int = Field(default=0, ge=0)
    #: Where tries are counted, so that the counts survive this process; None: in memory.
    state_dir: Path | None = None

    unavailable: bool = False
    out_of_credit: bool = False
    reject: bool = False
    reject_if_contains: str = ""
    moderate_if_contains: str = ""
    hang_if_contains: str = ""
    #: A hanging job runs into its deadline after this long, unless it is canceled before.
    hang_s: float = Field(default=3600.0, gt=0)
    #: Kills the whole process, as a crashing driver would.
    crash_if_contains: str = ""
    #: A variable that must be set, like a token; its value is not read.
    not_configured_env: str = ""

    #: A file that gets one line, ``attempt id, tab, seed``, for every drawing that is begun.
    calls_log: Path | None = None
