"""Walks Replicate's list of predictions for those that a create call may have created."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from imagen.backends.replicate.api.client import ApiAnswer
from imagen.backends.replicate.api.patient_reader import PatientReader, Unreadable
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.backends.replicate.api.rate_gate import Tick
from imagen.errors import OutcomeUnknown

_CALL_TIMEOUT_S = 30.0
# A page holds 100 predictions. At 600 creates a minute an hour is 360 pages, and inputs that are
# older than an hour are erased.
_MAX_PAGES = 500
_LOOK_AGAIN_S = 30.0
LOOK_FIRST_HINT = "look at https://replicate.com/predictions before: imagen jobs retry"


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A create call, and how to recognise its prediction.

    Attributes:
        path: below ``/v1``.
        make_body: the JSON to send, secrets included; raises CredentialError where one is not set.
        inputs: those without the secrets, which Replicate's list does not show.
        private: texts that no message may quote.
    """

    path: str
    make_body: Callable[[], Mapping[str, Any]]
    model: str
    version: str | None
    inputs: Mapping[str, Any]
    private: tuple[str, ...] = field(default=(), repr=False)

    @property
    def listed_inputs(self) -> Mapping[str, Any]:
        """The inputs that Replicate's list shows: it leaves out files given as data URLs.

        Source: Replicate's staff in replicate/inpainter#1 (read 2026-11).
        """
        return {name: value for name, value in self.inputs.items() if not _holds_file(value)}

    @property
    def key(self) -> str:
        """Equal for calls whose predictions the list cannot tell apart."""
        listed = json.dumps([self.model, self.version, self.listed_inputs], sort_keys=True)
        return hashlib.sha256(listed.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What one walk through the list showed.

    Attributes:
        matches: predictions that this call, or an equal one, may have created, oldest first.
        erased: ids of predictions of the same model whose inputs are erased: each may match.
    """

    matches: tuple[Prediction, ...]
    erased: tuple[str, ...]


@dataclass(frozen=True)
class PredictionSearch:
    """Walks the list of predictions. Slow, and only used after a lost answer."""

    reader: PatientReader

    def find(
        self, call: CreateCall, *, since: datetime, until: datetime | None, tick: Tick
    ) -> SearchResult:
        """Predictions of ``call`` created from ``since`` to ``until``, in Replicate's time.

        Raises:
            OutcomeUnknown: the list could not be read to its end.
        """
        matches: dict[str, Prediction] = {}
        erased: dict[str, None] = {}
        for prediction in self._walk(since, until, tick):
            if not _is_of_model(prediction, call):
                continue
            if prediction.inputs is None and not prediction.is_removed:
                body = self._get(f"/predictions/{prediction.id}", {}, tick)
                prediction = read_prediction(body) or prediction
            if prediction.inputs is None or prediction.is_removed:
                erased[prediction.id] = None
            elif _includes(prediction.inputs, call.listed_inputs):
                matches[prediction.id] = prediction
        return SearchResult(tuple(sorted(matches.values(), key=_age_key)), tuple(erased))

    def sync_clock(self, tick: Tick) -> None:
        """Learn Replicate's time, where no answer has contained it yet."""
        if not self.reader.client.knows_server_time:
            self._get("/account", {}, tick)

    def _walk(self, since: datetime, until: datetime | None, tick: Tick) -> Iterator[Prediction]:
        params = {"created_after": since.isoformat()}
        if until is not None:
            params["created_before"] = until.isoformat()
        for _ in range(_MAX_PAGES):
            page = self._get("/predictions", params, tick)
            results = page.get("results") if isinstance(page, Mapping) else None
            if not isinstance(results, list):
                raise _unknown("Replicate's list of predictions could not be read")
            yield from filter(None, map(read_prediction, results))
            following = page.get("next")
            if not isinstance(following, str) or not following:
                return
            # Only the cursor is taken from the URL: another host must not get the token.
            try:
                params = dict(parse_qsl(urlsplit(following).query))
            except ValueError:
                raise _unknown("Replicate's list of predictions could not be read") from None
        raise OutcomeUnknown(
            "Replicate's list of predictions is too long to look through", LOOK_FIRST_HINT
        )

    def _get(self, path: str, params: Mapping[str, str], tick: Tick) -> Any:
        """The JSON of the successful answer to a GET, which is repeated for ``patience_s``."""
        try:
            return self.reader.read(
                path, params, read=_body_of, kind="call", timeout_s=_CALL_TIMEOUT_S, tick=tick
            )
        except Unreadable as exc:
            raise _unknown(
                "an answer of Replicate was lost, and its list of predictions cannot be"
                f" read: {exc}"
            ) from None


def _unknown(message: str) -> OutcomeUnknown:
    return OutcomeUnknown(message, LOOK_FIRST_HINT, _LOOK_AGAIN_S)


def _body_of(answer: ApiAnswer) -> Any:
    if answer.is_success:
        return answer.body
    if 300 <= answer.status < 500 and answer.status not in (408, 425, 429):
        raise Unreadable(f"it answered {answer.status}")
    return None


def _is_of_model(prediction: Prediction, call: CreateCall) -> bool:
    if prediction.model and prediction.model.partition(":")[0].lower() != call.model.lower():
        return False
    # Official models answer "hidden" (sometimes "dp-…") for their version.
    has_hash = len(prediction.version) == 64
    return call.version is None or not has_hash or prediction.version == call.version


def _holds_file(value: Any) -> bool:
    if isinstance(value, str):
        return value[:5].lower() == "data:"
    if isinstance(value, Mapping):
        return any(map(_holds_file, value.values()))
    return isinstance(value, list) and any(map(_holds_file, value))


def _includes(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a prediction was made with our inputs; Replicate may have added defaults."""
    return all(name in theirs and theirs[name] == value for name, value in ours.items())


def _age_key(prediction: Prediction) -> tuple[float, str]:
    created_at = prediction.created_at
    return (created_at.timestamp() if created_at else 0.0, prediction.id)
