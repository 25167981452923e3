"""A Replicate model as a backend: one request in, one paid image out."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.api.predictions import Prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick
from imagen.backends.replicate.health import check_health
from imagen.backends.replicate.models.known_models import DEFAULT_TIMEOUT_S, ModelSpec
from imagen.backends.replicate.models.prices import derive_cost, estimate_cost, price_of
from imagen.backends.replicate.models.request_plan import (
    RequestPlan,
    plan_request,
    require_safe_seed,
)
from imagen.backends.replicate.models.secret_inputs import SecretInputs
from imagen.backends.replicate.models.spec_lookup import SpecLookup
from imagen.backends.replicate.purchase.cancel import CancelUnconfirmed
from imagen.backends.replicate.purchase.create import PredictionCreator
from imagen.backends.replicate.purchase.download import (
    Downloader,
    DownloadFailed,
    OutputUnusable,
    output_urls,
)
from imagen.backends.replicate.purchase.find_lost import CreateCall
from imagen.backends.replicate.purchase.follow import (
    Deadlines,
    FollowedPrediction,
    PredictionFollower,
)
from imagen.backends.replicate.purchase.outcome import details_of, require_success, why_no_url
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.cost import UNKNOWN_COST, Bill, Cost
from imagen.domain.drawn import Drawn, Fitted, Health, Work
from imagen.domain.job import AttemptState
from imagen.domain.protocols import Run
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendUnavailable,
    JobCanceled,
    OutcomeUnknown,
    OutputRefused,
    RateLimited,
)
from imagen.http.deadline import boottime_s

# On top of both deadlines, so that Replicate's own cancel never comes before ours.
_CANCEL_RESERVE_S = 60.0
_FETCH_AGAIN_S = 15.0
_CANCEL_AGAIN_S = 10.0
_LOOK_AGAIN_S = 15.0


class ReplicateBackend:
    """See ``imagen.domain.protocols.Backend``. Threads share it."""

    repeat_is_free = False
    is_metered = True

    def __init__(self, name: str, settings: ReplicateSettings, context: AdapterContext) -> None:
        self.name = name
        self.account: str | None = f"{settings.base_url} {settings.api_token_env}"
        self._settings = settings
        self._price = price_of(settings)
        self._secrets = SecretInputs(settings.input_env, context.env)
        self._client = Client(settings, context.env)
        gate = RateGate(self._client, context.limiter, settings)
        self._specs = SpecLookup(self._client, gate, settings, name=name)
        known = self._specs.known()
        self._deadlines = Deadlines(
            start_s=settings.start_timeout_s,
            run_s=settings.timeout_s or (known.timeout_s if known else DEFAULT_TIMEOUT_S),
        )
        # The safety net for predictions that nobody watches any more.
        self._cancel_after_s = sum(
            (self._deadlines.start_s, self._deadlines.run_s, _CANCEL_RESERVE_S)
        )
        self._watcher = PredictionFollower(
            self._client, gate, settings, name=name, durations=context.durations
        )
        self._buyer = PredictionCreator(
            self._client,
            gate,
            settings,
            name=name,
            attempts=context.attempts,
            cancel_after_s=self._cancel_after_s,
        )
        self._downloader = Downloader(settings)
        self._closing = threading.Lock()

    def __repr__(self) -> str:
        return f"<ReplicateBackend {self.name!r} {self._settings.model}>"

    def fit(self, request: ImageRequest) -> Fitted:
        spec = self._specs.known()
        self._secrets.refuse_as_options(request.options, spec)
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
        spec = self._spec(run, tick)
        self._secrets.refuse_as_options(request.options, spec)
        plan = self._plan(request, spec)
        followed = self._followed(plan, run, tick)
        drawn = plan.request
        work = Work(self._settings.model, drawn.steps, drawn.width, drawn.height)
        try:
            prediction = self._watcher.wait(followed, self._deadlines, work=work, tick=tick)
        except JobCanceled:
            self._stop(followed, run)
            raise
        require_success(
            prediction,
            self._which(prediction),
            private=self._private(plan),
            cancel_after_s=self._cancel_after_s - _CANCEL_RESERVE_S,
        )
        run.billed(self._bill(prediction, plan))
        # No tick from here on: a cancel must not throw away what is paid for and in hand.
        return self._drawn(plan, prediction, self._fetch_image(followed, prediction, tick))

    def check(self) -> Health:
        if self._secrets.missing:
            name = self._secrets.missing[0]
            return Health("not configured", f"{name} is not set", f"export {name}=…")
        return check_health(self._client, self._settings, self._price)

    def cancel(self, external_id: str) -> Bill | None:
        try:
            ended = self._watcher.cancel(external_id)
        except CancelUnconfirmed as exc:
            raise BackendUnavailable(
                f"the cancel of prediction {external_id} of backend {self.name!r}"
                f" is not confirmed: {exc}",
                "it may go on and cost",
            ) from None
        if ended is None or ended.status != "succeeded":
            return None
        return self._bill(ended)

    def forget(self, external_id: str) -> None:
        """Nothing to do: Replicate erases a prediction's data after an hour by itself."""

    def close(self) -> None:
        with self._closing:
            self._client.close()
            self._downloader.close()

    def _spec(self, run: Run, tick: Tick) -> ModelSpec:
        """The model's spec, which Replicate is asked for where the table has none.

        Raises:
            OutcomeUnknown: it cannot be asked now, and an earlier worker may have sent the call.
        """
        try:
            return self._specs.get(tick)
        except BackendUnavailable as exc:
            if run.previous is None or run.previous.state is AttemptState.STARTED:
                raise
            # "Nothing was begun" is true of this run only: taken at its word, it would begin anew.
            wait_s = exc.retry_after_s if isinstance(exc, RateLimited) else 0.0
            raise OutcomeUnknown(
                f"an earlier call may have been paid for, and cannot be looked for: {exc.message}",
                exc.hint,
                max(wait_s, _LOOK_AGAIN_S),
            ) from None

    def _plan(self, request: ImageRequest, spec: ModelSpec) -> RequestPlan:
        return plan_request(
            request,
            spec,
            model=self._settings.model,
            fixed=self._settings.input,
            default_steps=self._settings.default_steps,
            secret=self._settings.input_env,
        )

    def _order(self, plan: RequestPlan) -> CreateCall:
        settings = self._settings
        path = f"/models/{settings.owner_and_name}/predictions"
        secrets = self._secrets.values(backend=self.name)
        body: dict[str, Any] = {"input": {**plan.inputs, **secrets}}
        if settings.version:
            path, body = "/predictions", {**body, "version": settings.model}
        return CreateCall(
            path=path,
            body=body,
            model=settings.owner_and_name,
            version=settings.version,
            inputs=plan.inputs,
            private=self._private(plan),
        )

    def _private(self, plan: RequestPlan) -> tuple[str, ...]:
        """What no message may quote, whoever says it."""
        request = plan.request
        return (request.prompt, request.styled_prompt, request.negative, *self._secrets.held)

    def _followed(self, plan: RequestPlan, run: Run, tick: Tick) -> FollowedPrediction:
        """The attempt's prediction, its id committed: an earlier worker's, found, or created."""
        previous = run.previous
        if previous is not None and previous.external_id:
            # An age that is not told is taken as none: an unknown id is waited for the longest.
            return FollowedPrediction(
                previous.external_id, boottime_s() - (previous.intent_age_s or 0.0)
            )
        prediction = self._buyer.obtain(self._order(plan), run, tick)
        return FollowedPrediction(prediction.id, boottime_s(), prediction)

    def _stop(self, followed: FollowedPrediction, run: Run) -> None:
        """Cancel on the job's behalf; one that had succeeded before is paid for, and on record.

        Raises:
            OutcomeUnknown: it may go on, so it is not called canceled.
        """
        try:
            ended = self._watcher.cancel(followed.id, is_new=followed.is_new)
        except CancelUnconfirmed as exc:
            raise OutcomeUnknown(
                f"the cancel of prediction {followed.id} of {self._settings.model}"
                f" is not confirmed: {exc}",
                "it may go on and cost; it is canceled again",
                _CANCEL_AGAIN_S,
            ) from None
        if ended is not None and ended.status == "succeeded":
            run.billed(self._bill(ended))

    def _fetch_image(
        self, followed: FollowedPrediction, prediction: Prediction, tick: Tick
    ) -> bytes:
        """The image's bytes. Fresh URLs are asked for once when the first ones fail."""
        try:
            return self._fetch_output(prediction, tick)
        except DownloadFailed:
            prediction = self._watcher.fetch(followed, tick)
        try:
            return self._fetch_output(prediction, tick)
        except DownloadFailed as exc:
            raise OutcomeUnknown(
                f"{self._which(prediction)} is drawn, but: {exc}",
                "it is not drawn again, but fetched by its id within the hour",
                _FETCH_AGAIN_S,
            ) from None

    def _fetch_output(self, prediction: Prediction, tick: Tick) -> bytes:
        which = self._which(prediction)
        urls = output_urls(prediction.output)
        if not urls:
            raise why_no_url(prediction, which)
        try:
            return self._downloader.fetch(urls[0], tick)[0]
        except OutputUnusable as exc:
            raise OutputRefused(
                f"{which} is drawn, but its output cannot be taken: {exc}",
                exc.hint or "it is paid for; imagen jobs retry only fetches it again",
            ) from None

    def _bill(self, prediction: Prediction, plan: RequestPlan | None = None) -> Bill:
        """What a prediction that succeeded costs; without a plan by what it tells of itself."""
        inputs = (plan.inputs if plan else prediction.inputs) or {}
        estimated = UNKNOWN_COST
        if plan is not None:
            size = plan.request.size
            estimated = estimate_cost(self._price, inputs, width=size.width, height=size.height)
        seed = inputs.get("seed")
        return Bill(
            cost=derive_cost(self._price, prediction.metrics, estimated=estimated),
            model=self._settings.model,
            seed=seed if isinstance(seed, int) else None,
            steps=plan.request.steps if plan else None,
        )

    def _which(self, prediction: Prediction) -> str:
        return f"prediction {prediction.id} of {self._settings.model}"

    def _drawn(self, plan: RequestPlan, prediction: Prediction, data: bytes) -> Drawn:
        request = plan.request
        return Drawn(
            data=data,
            model=self._settings.model,
            seed=request.seed if "seed" in plan.inputs else None,
            steps=request.steps,
            cost=self._bill(prediction, plan).cost,
            details=details_of(prediction, {**plan.inputs, **self._secrets.shown}),
            warnings=plan.warnings,
            negative=request.negative,
        )
