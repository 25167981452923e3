"""Polls a prediction until it ends, and cancels it at its deadline."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.patient_reader import PatientReader, Unreadable
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.backends.replicate.api.rate_gate import Tick, pause
from imagen.backends.replicate.api.refusals import refusal_of
from imagen.backends.replicate.purchase.cancel import CancelUnconfirmed, cancel_prediction
from imagen.backends.replicate.purchase.poll_schedule import (
    RecentDurations,
    next_gap_s,
    window_of,
)
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.drawn import Work
from imagen.domain.protocols import Durations
from imagen.errors import CredentialError, JobTimeout, OutcomeUnknown
from imagen.http.deadline import boottime_s

_CALL_TIMEOUT_S = 10.0
_LOOK_AGAIN_S = 10.0
# For this long after its creation a prediction that Replicate does not know counts as not known
# yet. Source: replicate-javascript#68 (2023-05 to 2026-03, read 2026-11).
_NEW_S = 60.0


@dataclass(frozen=True, slots=True)
class FollowedPrediction:
    """A prediction to follow.

    Attributes:
        id: Replicate's.
        created_s: when the create call was made, on ``boottime_s``'s clock.
        first: as this worker first read it; None where only the id is known.
    """

    id: str
    created_s: float
    first: Prediction | None = None

    @property
    def is_new(self) -> bool:
        return boottime_s() - self.created_s < _NEW_S


@dataclass(frozen=True)
class PredictionFollower:
    """Follows predictions of one backend. Threads share it.

    ``run_timeout_s`` are the seconds that a prediction may run, counted from its start.
    """

    client: Client
    reader: PatientReader
    settings: ReplicateSettings
    name: str
    run_timeout_s: float
    durations: Durations
    _recent: RecentDurations = field(default_factory=RecentDurations)

    def follow(self, one: FollowedPrediction, *, work: Work, tick: Tick) -> Prediction:
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
        recent = self._recent.of(work)
        window = window_of(recent, None if recent else self.durations.expected_s(self.name, work))
        while not prediction.is_terminal:
            now_s = boottime_s()
            if started_s is None and prediction.status != "starting":
                started_s = now_s
            overdue = self._describe_overdue(now_s, seen_s=seen_s, started_s=started_s)
            if overdue:
                return self._cancel_overdue(prediction, overdue)
            pause(next_gap_s(now_s - seen_s, window), tick)
            tick()
            prediction = self.fetch(one, tick)
        if prediction.took_s is not None and prediction.status == "succeeded":
            self._recent.add(work, prediction.took_s)
        return prediction

    def fetch(self, one: FollowedPrediction, tick: Tick) -> Prediction:
        """The prediction as it is now. A failing GET is repeated for ``patience_s``.

        Raises:
            OutcomeUnknown: it could not be read; it may well be running.
            CredentialError: the token was refused.
        """

        def read(answer: ApiAnswer) -> Prediction | None:
            prediction = read_prediction(answer.body) if answer.is_success else None
            if prediction is None and not (answer.status == 404 and one.is_new):
                self._require_repeatable(answer, one)
            return prediction

        try:
            return self.reader.read(
                f"/predictions/{one.id}",
                read=read,
                kind="poll",
                timeout_s=_CALL_TIMEOUT_S,
                tick=tick,
            )
        except Unreadable as exc:
            raise OutcomeUnknown(
                f"prediction {one.id} of backend {self.name!r} cannot be read: {exc}",
                "it is not drawn again, but asked for by its id",
                _LOOK_AGAIN_S,
            ) from None

    def _require_repeatable(self, answer: ApiAnswer, one: FollowedPrediction) -> None:
        """Return where a repeat of the GET may be answered better, else raise."""
        if answer.status == 404:
            raise OutcomeUnknown(
                f"prediction {one.id} is not known at {self.client.server}"
                f" to the token in {self.settings.api_token_env}",
                "was it made with another account?",
            )
        refused = refusal_of(answer, self.settings, name=self.name)
        if isinstance(refused, CredentialError):
            raise refused

    def _age_s(self, moment: datetime | None) -> float:
        """Seconds since a time of Replicate's; 0 where that or Replicate's clock is not known."""
        if moment is None or not self.client.knows_server_time:
            return 0.0
        return max((self.client.server_now() - moment).total_seconds(), 0.0)

    def _describe_overdue(self, now_s: float, *, seen_s: float, started_s: float | None) -> str:
        """Which deadline has passed, as half a sentence; "" where none has."""
        start_timeout_s = self.settings.start_timeout_s
        if started_s is None and now_s - seen_s > start_timeout_s:
            return f"was not started within {start_timeout_s:.0f} s"
        if started_s is not None and now_s - started_s > self.run_timeout_s:
            return f"ran past its deadline of {self.run_timeout_s:.0f} s"
        return ""

    def _cancel_overdue(self, prediction: Prediction, overdue: str) -> Prediction:
        """The prediction, where it succeeded or failed before it could be canceled."""
        which = f"prediction {prediction.id} of {self.settings.model}"
        try:
            ended = cancel_prediction(self.client, prediction.id)
            if ended is None:
                raise CancelUnconfirmed("it is not known at Replicate any more")
        except CancelUnconfirmed as exc:
            raise OutcomeUnknown(
                f"{which} {overdue}, and its cancel is not confirmed: {exc}",
                "it may go on and cost; it is canceled again",
                _LOOK_AGAIN_S,
            ) from None
        if ended.status in ("succeeded", "failed"):
            return ended
        raise JobTimeout(
            f"{which} {overdue}, so it was canceled",
            f"set timeout_s of backend {self.name!r} higher, or: imagen jobs retry",
        )
