"""The way of one purchase: resume, find or create a prediction, follow it, fetch its image."""

from __future__ import annotations

from collections.abc import Callable

from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.api.patient_reader import PatientReader
from imagen.backends.replicate.api.predictions import Prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick
from imagen.backends.replicate.purchase.cancel import CancelUnconfirmed, cancel_prediction
from imagen.backends.replicate.purchase.create_once import PredictionCreator
from imagen.backends.replicate.purchase.download import Downloader, DownloadFailed, OutputUnusable
from imagen.backends.replicate.purchase.find_lost import LostPredictionFinder
from imagen.backends.replicate.purchase.follow import FollowedPrediction, PredictionFollower
from imagen.backends.replicate.purchase.list_search import CreateCall, PredictionSearch
from imagen.backends.replicate.purchase.outcome import require_success, require_url
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.cost import Bill
from imagen.domain.drawn import Work
from imagen.domain.protocols import AttemptIndex, Durations, Run
from imagen.errors import JobCanceled, OutcomeUnknown, OutputRefused
from imagen.http.deadline import boottime_s

# Replicate cancels a prediction by itself this long after both of our deadlines, at which imagen
# cancels it; so no prediction whose worker has died runs on.
_CANCEL_RESERVE_S = 60.0
_CANCEL_AGAIN_S = 10.0
_FETCH_AGAIN_S = 15.0


class Purchases:
    """Buys predictions of one backend. Threads share it."""

    def __init__(
        self,
        client: Client,
        gate: RateGate,
        settings: ReplicateSettings,
        *,
        name: str,
        run_timeout_s: float,
        attempts: AttemptIndex,
        durations: Durations,
    ) -> None:
        """``run_timeout_s``: seconds that a prediction may run, counted from its start."""
        self._client = client
        self._model = settings.model
        self._deadline_s = settings.start_timeout_s + run_timeout_s
        reader = PatientReader(client, gate, settings.patience_s)
        finder = LostPredictionFinder(client, PredictionSearch(reader), settings, name, attempts)
        cancel_after_s = self._deadline_s + _CANCEL_RESERVE_S
        self._creator = PredictionCreator(client, gate, finder, settings, name, cancel_after_s)
        self._follower = PredictionFollower(
            client, reader, settings, name, run_timeout_s, durations
        )
        self._downloader = Downloader(settings)

    def buy(
        self,
        call: CreateCall,
        run: Run,
        tick: Tick,
        *,
        work: Work,
        bill: Callable[[Prediction], Bill],
    ) -> tuple[Prediction, bytes]:
        """The attempt's prediction, ended with success, and the bytes of its image.

        What it costs is reported to ``run`` before the image is fetched.

        Raises:
            BackendError, CredentialError, JobCanceled, LeaseLost
        """
        followed = self._resume(run)
        if followed is None:
            created = self._creator.find_or_create(call, run, tick)
            followed = FollowedPrediction(created.id, boottime_s(), created)
        try:
            prediction = self._follower.follow(followed, work=work, tick=tick)
        except JobCanceled:
            self._cancel(followed, run, bill)
            raise
        which = self._which(prediction)
        require_success(prediction, which, private=call.private, cancel_after_s=self._deadline_s)
        run.billed(bill(prediction))
        return prediction, self._fetch_image(followed, prediction, tick)

    def close(self) -> None:
        self._downloader.close()

    def _resume(self, run: Run) -> FollowedPrediction | None:
        """The prediction whose id an earlier worker recorded; None where there is none."""
        previous = run.previous
        if previous is None or not previous.external_id:
            return None
        # An unknown age counts as 0: then a 404 means "not yet" for the longest time.
        created_s = boottime_s() - (previous.intent_age_s or 0.0)
        return FollowedPrediction(previous.external_id, created_s)

    def _cancel(
        self, followed: FollowedPrediction, run: Run, bill: Callable[[Prediction], Bill]
    ) -> None:
        """Cancel for a canceled job; a prediction that succeeded all the same is billed.

        Raises:
            OutcomeUnknown: it may still be running, so the job is not called canceled.
        """
        try:
            ended = cancel_prediction(self._client, followed.id, is_new=followed.is_new)
        except CancelUnconfirmed as exc:
            raise OutcomeUnknown(
                f"the cancel of prediction {followed.id} of {self._model} is not confirmed: {exc}",
                "it may go on and cost; it is canceled again",
                _CANCEL_AGAIN_S,
            ) from None
        if ended is not None and ended.status == "succeeded":
            run.billed(bill(ended))

    def _fetch_image(
        self, followed: FollowedPrediction, prediction: Prediction, tick: Tick
    ) -> bytes:
        """The image's bytes; where its URL fails, the prediction is read once more for another."""
        try:
            return self._download(prediction, tick)
        except DownloadFailed:
            prediction = self._follower.fetch(followed, tick)
        try:
            return self._download(prediction, tick)
        except DownloadFailed as exc:
            raise OutcomeUnknown(
                f"{self._which(prediction)} is drawn, but: {exc}",
                "it is not drawn again, but fetched by its id within the hour",
                _FETCH_AGAIN_S,
            ) from None

    def _download(self, prediction: Prediction, tick: Tick) -> bytes:
        which = self._which(prediction)
        try:
            return self._downloader.fetch(require_url(prediction, which), tick)
        except OutputUnusable as exc:
            raise OutputRefused(
                f"{which} is drawn, but its output cannot be taken: {exc}",
                exc.hint or "it is paid for; imagen jobs retry only fetches it again",
            ) from None

    def _which(self, prediction: Prediction) -> str:
        return f"prediction {prediction.id} of {self._model}"
