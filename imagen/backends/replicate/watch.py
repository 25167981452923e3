"""Waits for a prediction to end, and cancels it where it must not go on."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from imagen.backends.replicate.answers import refusal_of
from imagen.backends.replicate.client import Client
from imagen.backends.replicate.pacing import RecentDurations, next_gap_s, window_of
from imagen.backends.replicate.predictions import Prediction, read_prediction
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.backends.replicate.waiting import Gate, Tick, pause
from imagen.domain.protocols import Durations
from imagen.errors import CredentialError, JobCanceled, JobTimeout, OutcomeUnknown, RateLimited
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

_CALL_TIMEOUT_S = 10.0
_CANCEL_TIMEOUT_S = 10.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 10.0
_LOOK_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds a prediction may wait to be started, and may run."""

    start_s: float
    run_s: float


class Watcher:
    """Follows predictions of one backend. Threads share it."""

    def __init__(
        self,
        client: Client,
        gate: Gate,
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

    def fetch(self, prediction_id: str, tick: Tick) -> Prediction:
        """The prediction as it is now. A failing GET is asked again for ``patience_s``.

        Raises:
            OutcomeUnknown: it could not be read; it may well be running.
            CredentialError: the token was refused.
        """
        gives_up_s = boottime_s() + self._settings.patience_s
        backoff_s = _FIRST_BACKOFF_S
        while True:
            prediction, reason, wait_s = self._ask(prediction_id, tick)
            if prediction is not None:
                return prediction
            wait_s = max(wait_s, backoff_s)
            if boottime_s() + wait_s > gives_up_s:
                raise OutcomeUnknown(
                    f"prediction {prediction_id} of backend {self._name!r} cannot be read:"
                    f" {reason}",
                    "it is not drawn again, but asked for by its id",
                    _LOOK_AGAIN_S,
                )
            pause(wait_s, tick)
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)

    def wait(
        self, prediction: Prediction, deadlines: Deadlines, *, kind: Hashable, tick: Tick
    ) -> Prediction:
        """The prediction once it has ended; one that must not go on is canceled first.

        ``kind`` names predictions that take about as long.

        Raises:
            JobTimeout: it waited or ran past its deadline.
            JobCanceled, LeaseLost: from ``tick``; only the first cancels at Replicate.
            OutcomeUnknown, CredentialError: as ``fetch``.
        """
        try:
            return self._follow(prediction, deadlines, kind, tick)
        except JobCanceled:
            self.cancel(prediction.id)
            raise

    def cancel(self, prediction_id: str) -> Prediction | None:
        """Cancel, and see that it is: the ended prediction, or nothing where that is not known.

        Idempotent; an unknown or finished prediction is left alone. Blocks for at most 10 s.
        """
        gives_up_s = boottime_s() + _CANCEL_TIMEOUT_S
        backoff_s = 0.1
        while (left_s := gives_up_s - boottime_s()) > 0:
            try:
                answer = self._client.post(
                    f"/predictions/{prediction_id}/cancel", {}, timeout_s=left_s
                )
                if answer.status in (401, 403, 404):
                    return None
                answer = self._client.get(
                    f"/predictions/{prediction_id}", timeout_s=max(left_s / 2, 0.5)
                )
                now = read_prediction(answer.body) if answer.is_success else None
                if now is not None and now.is_terminal:
                    return now
            except Unanswered:
                pass
            pause(min(backoff_s, max(gives_up_s - boottime_s(), 0.0)), lambda: None)
            backoff_s *= 2
        return None

    def _follow(
        self, prediction: Prediction, deadlines: Deadlines, kind: Hashable, tick: Tick
    ) -> Prediction:
        seen_s = boottime_s()
        started_s: float | None = None
        window = window_of(self._recent.of(kind), self._durations.expected_s(self._name))
        while not prediction.is_terminal:
            now_s = boottime_s()
            if started_s is None and prediction.status != "starting":
                started_s = now_s
            over = _overdue(now_s, seen_s=seen_s, started_s=started_s, deadlines=deadlines)
            if over:
                return self._stop(prediction, over)
            pause(next_gap_s(now_s - seen_s, window), tick)
            tick()
            prediction = self.fetch(prediction.id, tick)
        if prediction.took_s is not None and prediction.status == "succeeded":
            self._recent.add(kind, prediction.took_s)
        return prediction

    def _stop(self, prediction: Prediction, over: str) -> Prediction:
        ended = self.cancel(prediction.id)
        if ended is not None and ended.status in ("succeeded", "failed"):
            return ended
        raise JobTimeout(
            f"prediction {prediction.id} of {self._settings.model} {over}, so it was canceled",
            f"set timeout_s of backend {self._name!r} higher, or: imagen jobs retry",
        )

    def _ask(self, prediction_id: str, tick: Tick) -> tuple[Prediction | None, str, float]:
        """The prediction, or why it could not be read, and how long to wait at the least."""
        try:
            self._gate.wait("call", tick)
            answer = self._client.get(f"/predictions/{prediction_id}", timeout_s=_CALL_TIMEOUT_S)
        except Unanswered as exc:
            return None, exc.reason, 0.0
        except RateLimited as exc:
            return None, "too many calls", exc.retry_after_s
        prediction = read_prediction(answer.body) if answer.is_success else None
        if prediction is not None:
            return prediction, "", 0.0
        if answer.is_success or answer.status >= 500 or answer.status in (408, 429):
            refused = refusal_of(answer, self._settings, name=self._name)
            wait_s = refused.retry_after_s if isinstance(refused, RateLimited) else 0.0
            return None, f"it answered {answer.status}", wait_s
        if answer.status == 404:
            raise OutcomeUnknown(
                f"prediction {prediction_id} is not known at {self._client.place}"
                f" to the token in {self._settings.api_token_env}",
                "was it made with another account?",
            )
        error = refusal_of(answer, self._settings, name=self._name)
        if isinstance(error, CredentialError):
            raise error
        return None, f"it answered {answer.status}", 0.0


def _overdue(now_s: float, *, seen_s: float, started_s: float | None, deadlines: Deadlines) -> str:
    """How the deadline was missed, as a half sentence; "" while it was not."""
    if started_s is None:
        is_over = now_s - seen_s > deadlines.start_s
        return f"was not started within {deadlines.start_s:.0f} s" if is_over else ""
    is_over = now_s - started_s > deadlines.run_s
    return f"ran past its deadline of {deadlines.run_s:.0f} s" if is_over else ""
