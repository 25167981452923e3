"""Cancels a prediction, and repeats the cancel until Replicate says that it has ended."""

from __future__ import annotations

import time

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.errors import CredentialError
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

_TIMEOUT_S = 10.0
_FIRST_BACKOFF_S = 0.1


class CancelUnconfirmed(Exception):
    """The prediction may still be running; the message says why this is not known."""

    def __init__(self, reason: str, *, is_unknown: bool = False) -> None:
        super().__init__(reason)
        self.is_unknown = is_unknown


def cancel_prediction(
    client: Client, prediction_id: str, *, is_new: bool = False
) -> Prediction | None:
    """The prediction once it has ended; None where Replicate does not know the id.

    Sends the cancel and then reads the prediction, repeatedly, for at most 10 s. Calling twice
    is safe: a prediction that has ended stays as it is.

    Args:
        is_new: created so recently that Replicate may not know the id yet.

    Raises:
        CancelUnconfirmed: it is not known to have ended by then.
    """
    gives_up_s = boottime_s() + _TIMEOUT_S
    backoff_s = _FIRST_BACKOFF_S
    while True:
        try:
            return _cancel_once(client, prediction_id, gives_up_s)
        except Unanswered as exc:
            unconfirmed = CancelUnconfirmed(exc.reason)
        except CredentialError as exc:
            raise CancelUnconfirmed(str(exc)) from None
        except CancelUnconfirmed as exc:
            if exc.is_unknown and not is_new:
                return None
            unconfirmed = exc
        if boottime_s() + backoff_s >= gives_up_s:
            raise unconfirmed
        time.sleep(backoff_s)
        backoff_s *= 2


def _cancel_once(client: Client, prediction_id: str, gives_up_s: float) -> Prediction:
    """The prediction, if it has ended after this call; else raises CancelUnconfirmed."""
    path = f"/predictions/{prediction_id}"
    # Without a body: Replicate's OpenAPI document has none, and a validator answers 415 to one.
    # Observed with its version of 2026-04 behind Prism 5.14.2.
    canceled = client.post(f"{path}/cancel", None, timeout_s=_left_s(gives_up_s))
    # The GET decides, whatever the cancel was answered: the prediction may have ended before.
    answer = client.get(path, timeout_s=_left_s(gives_up_s))
    prediction = read_prediction(answer.body) if answer.is_success else None
    if prediction is not None and prediction.is_terminal:
        return prediction
    raise CancelUnconfirmed(
        _describe(canceled, answer, prediction), is_unknown=answer.status == 404
    )


def _left_s(gives_up_s: float) -> float:
    return max(gives_up_s - boottime_s(), 0.5)


def _describe(canceled: ApiAnswer, answer: ApiAnswer, prediction: Prediction | None) -> str:
    if not canceled.is_success:
        return f"Replicate answered {canceled.status} to it"
    if prediction is None:
        return f"the prediction cannot be read ({answer.status})"
    return f"the prediction is still {prediction.status or 'under way'}"
