"""A Replicate model as a backend: one request in, one paid image out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.api.predictions import Prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick
from imagen.backends.replicate.health import check_health
from imagen.backends.replicate.models.model_spec import DEFAULT_TIMEOUT_S, ModelSpec
from imagen.backends.replicate.models.prices import derive_cost, estimate_cost, price_of
from imagen.backends.replicate.models.request_plan import (
    RequestPlan,
    plan_request,
    require_safe_seed,
)
from imagen.backends.replicate.models.secret_inputs import SecretInputs
from imagen.backends.replicate.models.spec_lookup import SpecLookup
from imagen.backends.replicate.purchase.cancel import CancelUnconfirmed, cancel_prediction
from imagen.backends.replicate.purchase.list_search import CreateCall
from imagen.backends.replicate.purchase.outcome import details_of
from imagen.backends.replicate.purchase.purchases import Purchases
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.cost import UNKNOWN_COST, Bill, Cost
from imagen.domain.drawn import Drawn, Fitted, Health, Work
from imagen.domain.job import AttemptState
from imagen.domain.protocols import Backend, Run
from imagen.domain.request import ImageRequest
from imagen.errors import BackendUnavailable, ConfigError, OutcomeUnknown, RateLimited

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
        known = self._specs.known
        self._purchases = Purchases(
            self._client,
            gate,
            settings,
            name=name,
            run_timeout_s=settings.timeout_s or (known.timeout_s if known else DEFAULT_TIMEOUT_S),
            attempts=context.attempts,
            durations=context.durations,
        )

    def __repr__(self) -> str:
        return f"<ReplicateBackend {self.name!r} {self._settings.model}>"

    def fit(self, request: ImageRequest) -> Fitted:
        spec = self._specs.known
        self._secrets.refuse_as_options(request.options, spec)
        if spec is None:
            # The inputs of this model are not known before a worker asks Replicate for them.
            require_safe_seed(request.seed)
            steps = request.steps if request.steps is not None else self._settings.default_steps
            return Fitted(replace(request, steps=steps))
        plan = plan_request(request, spec, self._settings)
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
        plan = plan_request(request, spec, self._settings)
        drawn = plan.request
        prediction, data = self._purchases.buy(
            self._create_call(plan),
            run,
            tick,
            work=Work(self._settings.model, drawn.steps, drawn.width, drawn.height),
            bill=lambda prediction: self._bill(prediction, plan),
        )
        return Drawn(
            data=data,
            model=self._settings.model,
            seed=drawn.seed if "seed" in plan.inputs else None,
            steps=drawn.steps,
            cost=self._bill(prediction, plan).cost,
            details=details_of(prediction, {**plan.inputs, **self._secrets.shown}),
            warnings=plan.warnings,
            negative=drawn.negative,
        )

    def check(self) -> Health:
        if self._secrets.missing:
            name = self._secrets.missing[0]
            return Health("not configured", f"{name} is not set", f"export {name}=…")
        return check_health(self._client, self._settings, self._price)

    def cancel(self, external_id: str) -> Bill | None:
        try:
            ended = cancel_prediction(self._client, external_id)
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
        self._client.close()
        self._purchases.close()

    def _spec(self, run: Run, tick: Tick) -> ModelSpec:
        """The model's spec, read from Replicate where the table has none.

        Raises:
            OutcomeUnknown: it cannot be read now, and an earlier worker may have sent the call.
        """
        try:
            return self._specs.get(tick)
        except BackendUnavailable as exc:
            if run.previous is None or run.previous.state is AttemptState.STARTED:
                raise
            # Passed on, the error would say that nothing was sent, and the job would be drawn anew.
            wait_s = exc.retry_after_s if isinstance(exc, RateLimited) else 0.0
            raise OutcomeUnknown(
                f"an earlier call may have been paid for, and cannot be looked for: {exc.message}",
                exc.hint,
                max(wait_s, _LOOK_AGAIN_S),
            ) from None

    def _create_call(self, plan: RequestPlan) -> CreateCall:
        settings, request = self._settings, plan.request

        def make_body() -> dict[str, Any]:
            inputs = {**plan.inputs, **self._secrets.values(backend=self.name)}
            version = {"version": settings.model} if settings.version else {}
            return {"input": inputs, **version}

        by_name = f"/models/{settings.owner_and_name}/predictions"
        return CreateCall(
            path="/predictions" if settings.version else by_name,
            make_body=make_body,
            model=settings.owner_and_name,
            version=settings.version,
            inputs=plan.inputs,
            private=(
                *(request.prompt, request.styled_prompt, request.negative),
                *self._secrets.held,
            ),
        )

    def _bill(self, prediction: Prediction, plan: RequestPlan | None = None) -> Bill:
        """What a prediction that succeeded costs; without a plan, by its own inputs and metrics."""
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


@dataclass(frozen=True)
class ReplicateAdapter:
    """See ``imagen.backends.adapter.Adapter``."""

    default_queue: str = "cloud"
    settings_type: type[BaseModel] = ReplicateSettings

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> Backend:
        """The backend called ``name``; no I/O.

        Raises:
            ConfigError: the model is known not to take the settings' steps or inputs.
        """
        if not isinstance(settings, ReplicateSettings):
            raise ConfigError(f"backend {name!r}: these are not settings of type replicate")
        return ReplicateBackend(name, settings, context)


adapter = ReplicateAdapter()
