"""What the end of a prediction means: an image to fetch, or one of imagen's errors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from imagen.backends.replicate.api.predictions import FailureKind, Prediction, classify_failure
from imagen.backends.replicate.api.refusals import quote
from imagen.backends.replicate.purchase.download import describe_output
from imagen.errors import (
    ArtifactLost,
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    ImagenError,
    JobTimeout,
    OutputRefused,
)


def require_success(
    prediction: Prediction, which: str, *, private: tuple[str, ...], cancel_after_s: float
) -> None:
    """Return when the prediction succeeded, or else raise what its end means to the queue.

    Args:
        which: the prediction, as messages name it.
        private: texts that must not be quoted, such as the prompt.
        cancel_after_s: an age in seconds from which on Replicate cancels by itself.
    """
    if prediction.status == "succeeded":
        return
    if prediction.status == "aborted":
        raise BackendUnavailable(f"{which} was aborted before it started", "nothing was spent")
    if prediction.status == "canceled":
        took_s = prediction.took_s
        if took_s is not None and took_s >= cancel_after_s:
            raise JobTimeout(f"{which} was canceled {took_s:.0f} s after its creation")
        raise BackendRejected(
            f"{which} was canceled at Replicate, not by imagen", "try: imagen jobs retry"
        )
    said = quote(prediction.error, private)
    failure = classify_failure(prediction.error)
    if failure is FailureKind.MODERATION:
        raise ContentRejected(f"{which} was refused by moderation: {said}", "word it otherwise")
    if failure is FailureKind.TRANSIENT:
        # Failed runs are not billed, so drawing anew spends nothing twice.
        raise BackendUnavailable(f"{which} failed: {said or 'no reason given'}", "try again")
    raise BackendRejected(f"{which} failed: {said}")


def why_no_url(prediction: Prediction, which: str) -> ImagenError:
    """The error for a prediction that succeeded and whose output names no file."""
    if prediction.is_removed:
        return ArtifactLost(
            f"{which} was drawn, but Replicate has erased the image (it keeps it for an hour)",
            "to pay for another one: imagen jobs retry",
        )
    if prediction.output == []:
        # The open FLUX models leave out what their safety checker refused, and succeed.
        return ContentRejected(
            f"{which} gave no image: moderation left it out", "word it otherwise"
        )
    return OutputRefused(
        f"{which} gave {describe_output(prediction.output)} instead of an image",
        "it is paid for; does this model draw?",
    )


def details_of(prediction: Prediction, inputs: Mapping[str, Any]) -> dict[str, Any]:
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
