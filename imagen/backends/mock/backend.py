"""The mock backend: keeps every promise of a backend, without a server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from imagen.backends.adapter import AdapterContext
from imagen.backends.mock.memory import CallLog, TryCounter
from imagen.backends.mock.palettes import PALETTES
from imagen.backends.mock.settings import MockSettings
from imagen.domain.cost import FREE, Cost
from imagen.domain.drawn import Drawn, Fitted, Health
from imagen.domain.protocols import Run
from imagen.domain.request import ImageRequest
from imagen.domain.size import parse_size
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    CredentialError,
    JobTimeout,
    OutOfCredit,
    RateLimited,
    RequestError,
)

# Longest time between two calls of ``run.progress``, which tell that the job was canceled.
_TICK_S = 0.1
# A paid call returns at once, but the lease must have this much left, as for a real one.
_CALL_TIMEOUT_S = 10.0
# The exit status that a shell shows for a process that a segmentation fault killed.
_CRASH_STATUS = 139


class MockBackend:
    """Draws landscapes in the calling thread. Threads share it."""

    def __init__(self, name: str, settings: MockSettings, env: Mapping[str, str]) -> None:
        self.name = name
        self.repeat_is_free = settings.cost_usd is None
        self.account: str | None = None
        # A mock with a price is metered as a paid backend is.
        self.is_metered = settings.cost_usd is not None
        self._settings = settings
        self._env = env
        self._tries = TryCounter(settings.state_dir)
        self._calls = CallLog(settings.calls_log)
        self._closed = threading.Event()

    def fit(self, request: ImageRequest) -> Fitted:
        parse_size(str(request.size))
        _check_options(request.options)
        steps = self._settings.default_steps if request.steps is None else request.steps
        if steps < 1:
            raise RequestError(f"steps {steps} is less than 1", "for example: --steps 4")
        return Fitted(replace(request, steps=steps))

    def generate(self, request: ImageRequest, run: Run) -> Drawn:
        settings = self._settings
        steps = request.steps or settings.default_steps
        if not self._is_submitted(run):
            self._refuse(request)
            self._submit(request, run)
        self._pretend_to_work(request, run, steps)
        # Imports Pillow, which a command that only submits a job does not need.
        from imagen.backends.mock.drawing import draw_request  # noqa: PLC0415

        data = draw_request(request)
        run.progress(steps, steps)
        return Drawn(
            data=data,
            model=settings.model,
            seed=request.seed,
            steps=steps,
            cost=self.estimate(request),
            negative=request.negative,
        )

    def estimate(self, request: ImageRequest) -> Cost:  # noqa: ARG002  # one price for all
        price = self._settings.cost_usd
        return FREE if price is None else Cost(price, "mock price")

    def affinity(self, request: ImageRequest) -> str | None:  # noqa: ARG002  # no model to load
        return None

    def check(self) -> Health:
        if missing := self._missing_variable():
            return Health("not configured", f"{missing} is not set", f"set {missing}")
        if self._settings.unavailable:
            return Health(
                "unreachable", "it is configured as unavailable", "remove 'unavailable' from it"
            )
        if self._settings.out_of_credit:
            return Health(
                "unreachable", "it is configured as out of credit", "remove 'out_of_credit' from it"
            )
        return Health("ok", "draws landscapes without a model")

    def cancel(self, external_id: str) -> None:
        """Does nothing: the caller's own thread draws, and ``run`` tells it to stop."""

    def forget(self, external_id: str) -> None:
        """Does nothing: no copy is kept."""

    def close(self) -> None:
        self._closed.set()

    def _missing_variable(self) -> str:
        name = self._settings.not_configured_env
        return name if name and not self._env.get(name) else ""

    def _is_submitted(self, run: Run) -> bool:
        """Whether an earlier worker has submitted this attempt, with its id recorded or not."""
        if self.repeat_is_free or run.previous is None:
            return False
        if run.previous.external_id:
            return True
        if self._calls.has(run.attempt_id):
            run.submitted(_external_id(run), place=self.name)
            return True
        return False

    def _refuse(self, request: ImageRequest) -> None:
        """Return unless the settings say that this request fails now; then raise their error."""
        settings, prompt = self._settings, request.prompt
        if missing := self._missing_variable():
            raise CredentialError(f"backend {self.name!r} needs {missing}", f"set {missing}")
        if settings.unavailable:
            raise BackendUnavailable(f"backend {self.name!r} is configured as unavailable")
        if settings.out_of_credit:
            raise OutOfCredit(f"backend {self.name!r} is configured as out of credit")
        self._refuse_first_tries(request)
        if settings.reject or _contains(prompt, settings.reject_if_contains):
            raise BackendRejected(f"backend {self.name!r} is configured to reject this prompt")
        if _contains(prompt, settings.moderate_if_contains):
            raise ContentRejected(
                f"backend {self.name!r} refused the prompt as its moderation is configured to",
                "word it differently",
            )

    def _refuse_first_tries(self, request: ImageRequest) -> None:
        settings = self._settings
        refusals = settings.rate_limit_first + settings.fail_first
        if not refusals:
            return
        number = self._tries.count(request)
        if number <= settings.rate_limit_first:
            raise RateLimited(
                f"backend {self.name!r} is configured to limit try {number}",
                f"wait {settings.retry_after_s:g} s",
                settings.retry_after_s,
            )
        if number <= refusals:
            raise BackendUnavailable(f"backend {self.name!r} is configured to fail try {number}")

    def _submit(self, request: ImageRequest, run: Run) -> None:
        """Begin the drawing; a paid one is recorded before and after."""
        if not self.repeat_is_free:
            run.intend(timeout_s=_CALL_TIMEOUT_S)
        self._calls.add(run.attempt_id, request.seed, remember=not self.repeat_is_free)
        if not self.repeat_is_free:
            run.submitted(_external_id(run), place=self.name)

    def _pretend_to_work(self, request: ImageRequest, run: Run, steps: int) -> None:
        settings = self._settings
        run.progress(0, steps)
        if _contains(request.prompt, settings.crash_if_contains):
            os._exit(_CRASH_STATUS)
        if _contains(request.prompt, settings.hang_if_contains):
            self._wait(run, 0, steps, settings.hang_s)
            raise JobTimeout(f"backend {self.name!r} hung for {settings.hang_s:g} s")
        if settings.latency_ms:
            for done in range(steps):
                self._wait(run, done, steps, settings.latency_ms / 1000 / steps)

    def _wait(self, run: Run, done: int, steps: int, seconds: float) -> None:
        """Sleep, calling ``run.progress`` often enough to notice a cancel or a lost lease."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if self._closed.wait(min(left_s, _TICK_S)):
                raise BackendUnavailable(f"backend {self.name!r} was closed")
            run.progress(done, steps)


class MockAdapter:
    """Makes mock backends; see ``imagen.backends.adapter.Adapter``."""

    default_queue = "gpu"
    settings_type: type[BaseModel] = MockSettings

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> MockBackend:
        assert isinstance(settings, MockSettings)
        return MockBackend(name, settings, context.env)


adapter = MockAdapter()


def _external_id(run: Run) -> str:
    return f"mock-{run.attempt_id}"


def _contains(prompt: str, needle: str) -> bool:
    return bool(needle) and needle in prompt


def _check_options(options: Mapping[str, str]) -> None:
    """Raises ``RequestError`` for an option, or a value of it, that the mock does not know."""
    unknown = sorted(set(options) - {"palette"})
    if unknown:
        raise RequestError(
            f"the mock backend has no option {unknown[0]!r}", "it knows: palette=NAME"
        )
    palette = options.get("palette")
    if palette is not None and palette not in PALETTES:
        raise RequestError(
            f"the mock backend has no palette {palette!r}", f"it has: {', '.join(PALETTES)}"
        )
