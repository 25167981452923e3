"""Waits for a prediction to end, and cancels it where it must not go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick, pause
from imagen.backends.replicate.api.refusals import refusal_of
from imagen.backends.replicate.purchase.cancel import CancelUnconfirmed, cancel_prediction
from imagen.backends.replicate.purchase.poll_schedule import (
    EndWindow,
    RecentDurations,
    next_gap_s,
    window_of,
)
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.drawn import Work
from imagen.domain.protocols import Durations
from imagen.errors import CredentialError, JobTimeout, OutcomeUnknown, RateLimited
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

_CALL_TIMEOUT_S = 10.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 10.0
_LOOK_AGAIN_S = 10.0
# Right after its creation a prediction may be unknown for a while: "not yet" until then.
# Source: replicate-javascript#68 (2023-05 to 2026-03, read 2026-11).
_NEW_S = 60.0


@dataclass(frozen=True, slots=True)
class FollowedPrediction:
    """A prediction to follow.

    Attributes:
        id: Replicate's.
        created_s: when the create call was made, on ``boottime_s``'s clock.
        first: as the create call's answer told it; None for one that another worker created.
    """

    id: str
    created_s: float
    first: Prediction | None = None

    @property
    def is_new(self) -> bool:
        return boottime_s() - self.created_s < _NEW_S


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds a prediction may wait to be started, and may run."""

    start_s: float
    run_s: float


class PredictionFollower:
    """Follows predictions of one backend. Threads share it."""

    def __init__(
        self,
        client: Client,
        gate: RateGate,
        settings: ReplicateSettings,
        *,
        name: str,
        durations: Durations,
    ) -> None:
        self._client = client
        self._gate = gate
        self._settings = settings
        self._name = name
        self._durations = durations
        self._recent = RecentDurations()

    def fetch(self, one: FollowedPrediction, tick: Tick) -> Prediction:
        """The prediction as it is now. A failing GET is asked again for ``patience_s``.

        Raises:
            OutcomeUnknown: it could not be read; it may well be running.
            CredentialError: the token was refused.
        """
        gives_up_s = boottime_s() + self._settings.patience_s
        backoff_s = _FIRST_BACKOFF_S
        while True:
            prediction, reason, wait_s = self._ask(one, tick)
            if prediction is not None:
                return prediction
            wait_s = max(wait_s, backoff_s)
            if boottime_s() + wait_s > gives_up_s:
                raise OutcomeUnknown(
                    f"prediction {one.id} of backend {self._name!r} cannot be read: {reason}",
                    "it is not drawn again, but asked for by its id",
                    _LOOK_AGAIN_S,
                )
            pause(wait_s, tick)
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)

    def wait(
        self, one: FollowedPrediction, deadlines: Deadlines, *, work: Work, tick: Tick
    ) -> Prediction:
        """The prediction once it has ended; one that runs past its deadline is canceled first.

        Raises:
            JobTimeout: it waited or ran past its deadline, and is canceled.
            JobCanceled, LeaseLost: from ``tick``; nothing is canceled at Replicate.
            OutcomeUnknown, CredentialError: as ``fetch``.
        """
        prediction = one.first or self.fetch(one, tick)
        seen_s, started_s = boottime_s(), None
        if one.first is None:
            seen_s -= self._age_s(prediction.created_at)
            if prediction.started_at is not None:
                started_s = boottime_s() - self._age_s(prediction.started_at)
        window = self._window(work)
        while not prediction.is_terminal:
            now_s = boottime_s()
            if started_s is None and prediction.status != "starting":
                started_s = now_s
            over = _overdue(now_s, seen_s=seen_s, started_s=started_s, deadlines=deadlines)
            if over:
                return self._stop(prediction, over)
            pause(next_gap_s(now_s - seen_s, window), tick)
            tick()
            prediction = self.fetch(one, tick)
        if prediction.took_s is not None and prediction.status == "succeeded":
            self._recent.add(work, prediction.took_s)
        return prediction

    def cancel(self, prediction_id: str, *, is_new: bool = False) -> Prediction | None:
        """Cancel, and see that it is: the prediction once it has ended; None for an unknown id.

        Idempotent. Blocks for at most 10 s. ``is_new``: an unknown id is one that is not known yet.

        Raises:
            CancelUnconfirmed: it may go on.
        """
        return cancel_prediction(self._client, prediction_id, is_new=is_new)

    def _window(self, work: Work) -> EndWindow | None:
        """When it will most likely end: by this process's last ones, or by the ledger's."""
        recent = self._recent.of(work)
        return window_of(recent, None if recent else self._durations.expected_s(self._name, work))

    def _age_s(self, moment: datetime | None) -> float:
        """How long ago a time of the provider's was, as far as its clock is known; 0 where not."""
        if moment is None or not self._client.knows_server_time:
            return 0.0
        return max((self._client.server_now() - moment).total_seconds(), 0.0)

    def _stop(self, prediction: Prediction, over: str) -> Prediction:
        which = f"prediction {prediction.id} of {self._settings.model}"
        try:
            ended = self.cancel(prediction.id)
            if ended is None:
                raise CancelUnconfirmed("it is not known at Replicate any more")
        except CancelUnconfirmed as exc:
            raise OutcomeUnknown(
                f"{which} {over}, and its cancel is not confirmed: {exc}",
                "it may go on and cost; it is canceled again",
                _LOOK_AGAIN_S,
            ) from None
        if ended.status in ("succeeded", "failed"):
            return ended
        raise JobTimeout(
            f"{which} {over}, so it was canceled",
            f"set timeout_s of backend {self._name!r} higher, or: imagen jobs retry",
        )

    def _ask(self, one: FollowedPrediction, tick: Tick) -> tuple[Prediction | None, str, float]:
        """The prediction, or why it could not be read, and how long to wait at the least."""
        try:
            self._gate.wait("poll", tick)
            answer = self._client.get(f"/predictions/{one.id}", timeout_s=_CALL_TIMEOUT_S)
        except Unanswered as exc:
            return None, exc.reason, 0.0
        except RateLimited as exc:
            return None, "too many calls", exc.retry_after_s
        prediction = read_prediction(answer.body) if answer.is_success else None
        if prediction is not None:
            return prediction, "", 0.0
        if answer.status == 404 and one.is_new:
            return None, "it is not known yet", 0.0
        if answer.status == 404:
            raise OutcomeUnknown(
                f"prediction {one.id} is not known at {self._client.place}"
                f" to the token in {self._settings.api_token_env}",
                "was it made with another account?",
            )
        refused = refusal_of(answer, self._settings, name=self._name)
        if isinstance(refused, CredentialError):
            raise refused
        wait_s = refused.retry_after_s if isinstance(refused, RateLimited) else 0.0
        return None, f"it answered {answer.status}", wait_s


def _overdue(now_s: float, *, seen_s: float, started_s: float | None, deadlines: Deadlines) -> str:
    """How the deadline was missed, as a half sentence; "" while it was not."""
    if started_s is None:
        is_over = now_s - seen_s > deadlines.start_s
        return f"was not started within {deadlines.start_s:.0f} s" if is_over else ""
    is_over = now_s - started_s > deadlines.run_s
    return f"ran past its deadline of {deadlines.run_s:.0f} s" if is_over else ""
