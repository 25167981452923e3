"""A Replicate model as a backend: one request in, one paid image out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagen.backends.adapter import Surroundings
from imagen.backends.replicate.answers import quote
from imagen.backends.replicate.client import Client
from imagen.backends.replicate.download import Downloader, Undelivered, output_urls
from imagen.backends.replicate.health import check_health
from imagen.backends.replicate.inputs import Plan, plan_request, require_safe_seed
from imagen.backends.replicate.lookup import Order
from imagen.backends.replicate.models import DEFAULT_TIMEOUT_S, ModelSpec
from imagen.backends.replicate.predictions import FailureKind, Prediction, classify_failure
from imagen.backends.replicate.prices import derive_cost, estimate_cost, price_of
from imagen.backends.replicate.purchase import Buyer
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.backends.replicate.specs import SpecBook
from imagen.backends.replicate.waiting import Gate, Tick
from imagen.backends.replicate.watch import Deadlines, Watcher
from imagen.domain.cost import Cost
from imagen.domain.drawn import Drawn, Fitted, Health
from imagen.domain.protocols import Run
from imagen.domain.request import ImageRequest
from imagen.errors import (
    ArtifactLost,
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    JobTimeout,
    OutcomeUnknown,
)

# On top of both deadlines, so that Replicate's own cancel never comes before ours.
_CANCEL_RESERVE_S = 60.0
_FETCH_AGAIN_S = 15.0


class ReplicateBackend:
    """See ``imagen.domain.protocols.Backend``. Threads share it."""

    repeat_is_free = False
    is_metered = True

    def __init__(self, name: str, settings: ReplicateSettings, surroundings: Surroundings) -> None:
        self.name = name
        self.account: str | None = f"{settings.base_url} {settings.api_token_env}"
        self._settings = settings
        self._price = price_of(settings)
        self._client = Client(settings, surroundings.env)
        gate = Gate(self._client, surroundings.limiter, settings)
        self._specs = SpecBook(self._client, gate, settings, name=name)
        known = self._specs.known()
        self._deadlines = Deadlines(
            start_s=settings.start_timeout_s,
            run_s=settings.timeout_s or (known.timeout_s if known else DEFAULT_TIMEOUT_S),
        )
        # The safety net for predictions that nobody watches any more.
        self._cancel_after_s = sum(
            (self._deadlines.start_s, self._deadlines.run_s, _CANCEL_RESERVE_S)
        )
        self._watcher = Watcher(
            self._client, gate, settings, name=name, durations=surroundings.durations
        )
        self._buyer = Buyer(
            self._client,
            gate,
            settings,
            name=name,
            attempts=surroundings.attempts,
            cancel=self._watcher.cancel,
            cancel_after_s=self._cancel_after_s,
        )
        self._downloader = Downloader(settings)
        self._closing = threading.Lock()

    def __repr__(self) -> str:
        return f"<ReplicateBackend {self.name!r} {self._settings.model}>"

    def fit(self, request: ImageRequest) -> Fitted:
        spec = self._specs.known()
        if spec is None:
            # The model's own schema is not here yet, and asking for it is not for submission.
            require_safe_seed(request.seed)
            steps = request.steps if request.steps is not None else self._settings.default_steps
            return Fitted(replace(request, steps=steps))
        plan = self._plan(request, spec)
        return Fitted(plan.request, plan.warnings)

    def estimate(self, request: ImageRequest) -> Cost:
        inputs = {**self._settings.input, **request.options}
        return estimate_cost(self._price, inputs, width=request.width, height=request.height)

    def affinity(self, request: ImageRequest) -> str | None:  # noqa: ARG002 - the protocol's
        return None

    def generate(self, request: ImageRequest, run: Run) -> Drawn:
        def tick() -> None:
            run.progress(0, 1)

        tick()
        plan = self._plan(request, self._specs.get(tick))
        if run.previous is not None and run.previous.external_id:
            prediction = self._watcher.fetch(run.previous.external_id, tick)
        else:
            prediction = self._buyer.obtain(self._order(plan), run, tick)
        kind = (plan.request.steps, plan.request.width, plan.request.height)
        prediction = self._watcher.wait(prediction, self._deadlines, kind=kind, tick=tick)
        self._require_success(prediction, plan)
        # No tick from here on: a cancel must not throw away what is paid for and in hand.
        return self._drawn(plan, prediction, self._fetch_image(prediction, tick))

    def check(self) -> Health:
        return check_health(self._client, self._settings, self._price)

    def cancel(self, external_id: str) -> None:
        self._watcher.cancel(external_id)

    def forget(self, external_id: str) -> None:
        """Nothing to do: Replicate erases a prediction's data after an hour by itself."""

    def close(self) -> None:
        with self._closing:
            self._client.close()
            self._downloader.close()

    def _plan(self, request: ImageRequest, spec: ModelSpec) -> Plan:
        return plan_request(
            request,
            spec,
            model=self._settings.model,
            fixed=self._settings.input,
            default_steps=self._settings.default_steps,
        )

    def _order(self, plan: Plan) -> Order:
        settings = self._settings
        path = f"/models/{settings.owner_and_name}/predictions"
        body: dict[str, Any] = {"input": plan.inputs}
        if settings.version:
            path, body = "/predictions", {**body, "version": settings.model}
        return Order(
            path=path,
            body=body,
            model=settings.owner_and_name,
            version=settings.version,
            inputs=plan.inputs,
            private=(plan.request.prompt, plan.request.user_prompt, plan.request.negative),
        )

    def _require_success(self, prediction: Prediction, plan: Plan) -> None:
        """Raises what a prediction that ended otherwise means to the queue."""
        which = f"prediction {prediction.id} of {self._settings.model}"
        if prediction.status == "succeeded":
            return
        if prediction.status == "aborted":
            raise BackendUnavailable(f"{which} was aborted before it started", "nothing was spent")
        if prediction.status == "canceled":
            took_s = prediction.took_s
            if took_s is not None and took_s >= self._cancel_after_s - _CANCEL_RESERVE_S:
                raise JobTimeout(f"{which} was canceled {took_s:.0f} s after its creation")
            raise BackendRejected(
                f"{which} was canceled at Replicate, not by imagen", "try: imagen jobs retry"
            )
        request = plan.request
        said = quote(prediction.error, (request.prompt, request.user_prompt, request.negative))
        failure = classify_failure(prediction.error)
        if failure is FailureKind.MODERATION:
            raise ContentRejected(f"{which} was refused by moderation: {said}", "word it otherwise")
        if failure is FailureKind.TRANSIENT:
            # Failed runs are not billed, so drawing anew spends nothing twice.
            raise BackendUnavailable(f"{which} failed: {said or 'no reason given'}", "try again")
        raise BackendRejected(f"{which} failed: {said}")

    def _fetch_image(self, prediction: Prediction, tick: Tick) -> bytes:
        """The image's bytes. Fresh URLs are asked for once when the first ones fail."""
        self._require_output(prediction)
        try:
            return self._downloader.fetch(output_urls(prediction.output)[0], tick)[0]
        except Undelivered:
            prediction = self._watcher.fetch(prediction.id, tick)
            self._require_output(prediction)
        try:
            return self._downloader.fetch(output_urls(prediction.output)[0], tick)[0]
        except Undelivered as exc:
            raise OutcomeUnknown(
                f"prediction {prediction.id} of {self._settings.model} is drawn, but: {exc}",
                "it is not drawn again, but fetched by its id within the hour",
                _FETCH_AGAIN_S,
            ) from None

    def _require_output(self, prediction: Prediction) -> None:
        if output_urls(prediction.output):
            return
        which = f"prediction {prediction.id} of {self._settings.model}"
        if prediction.is_removed:
            raise ArtifactLost(
                f"{which} was drawn, but Replicate has erased the image (it keeps it for an hour)",
                "to pay for another one: imagen jobs retry",
            )
        # The open FLUX models leave out what their safety checker refused, and succeed.
        raise ContentRejected(f"{which} gave no image: moderation left it out", "word it otherwise")

    def _drawn(self, plan: Plan, prediction: Prediction, data: bytes) -> Drawn:
        request = plan.request
        estimated = estimate_cost(
            self._price, plan.inputs, width=request.width, height=request.height
        )
        return Drawn(
            data=data,
            model=self._settings.model,
            seed=request.seed if "seed" in plan.inputs else None,
            steps=request.steps,
            cost=derive_cost(self._price, prediction.metrics, estimated=estimated),
            details=_details(prediction, plan.inputs),
            warnings=plan.warnings,
            negative=request.negative,
        )


def _details(prediction: Prediction, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the sidecar needs besides the request, without the prompts: it may stand in images."""
    details: dict[str, Any] = {
        "prediction_id": prediction.id,
        "input": {
            name: _shorten(value)
            for name, value in inputs.items()
            if name not in ("prompt", "negative_prompt")
        },
    }
    if prediction.version:
        details["version"] = prediction.version
    if prediction.metrics:
        details["metrics"] = dict(prediction.metrics)
    return details


def _shorten(value: Any) -> Any:
    """A picture given inline is told by its hash."""
    if isinstance(value, list):
        return [_shorten(one) for one in value]
    if isinstance(value, str) and value.startswith("data:"):
        return f"data:sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value
