"""What the end of a prediction means: the URL of an image, or one of imagen's errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from imagen.backends.replicate.api.predictions import Prediction
from imagen.backends.replicate.api.refusals import quote
from imagen.errors import (
    ArtifactLost,
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    JobTimeout,
    OutputRefused,
)

# Texts seen live or in the models' source, 2024-2026.
_MODERATION = re.compile(
    r"nsfw|flagged as sensitive|\bE005\b"
    r"|content[ _-]?(policy|filter|moderat)|safety (check|filter)",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"interrupted|please retry|\bcode: PA\b|\bDirector: |temporarily unavailable|try again later"
    r"|\b(E004|E1000|E1001|E6716|E8367|E8765|E9243|E9825|E9828)\b",
    re.IGNORECASE,
)
_URL = re.compile(r"data:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def require_success(
    prediction: Prediction, which: str, *, private: tuple[str, ...], cancel_after_s: float
) -> None:
    """Return if the prediction succeeded, else raise what its end means for the job.

    Args:
        which: the prediction, as messages name it.
        private: texts that must not be quoted, such as the prompt.
        cancel_after_s: from this age on Replicate may have canceled it by itself.
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
    if _MODERATION.search(prediction.error):
        raise ContentRejected(f"{which} was refused by moderation: {said}", "change the prompt")
    if not prediction.error.strip() or _TRANSIENT.search(prediction.error):
        # Failed runs are not billed, so a repeat pays for one prediction only.
        raise BackendUnavailable(f"{which} failed: {said or 'no reason given'}", "try again")
    raise BackendRejected(f"{which} failed: {said}")


def require_url(prediction: Prediction, which: str) -> str:
    """The URL of the image of a prediction that succeeded.

    Raises:
        ArtifactLost, ContentRejected, OutputRefused: its output names no file.
    """
    urls = output_urls(prediction.output)
    if urls:
        return urls[0]
    if prediction.is_removed:
        raise ArtifactLost(
            f"{which} was drawn, but Replicate has erased the image (it keeps it for an hour)",
            "to pay for another one: imagen jobs retry",
        )
    if prediction.output == []:
        # The open FLUX models succeed without the images that their safety checker refused.
        raise ContentRejected(f"{which} gave no image: moderation left it out", "change the prompt")
    raise OutputRefused(
        f"{which} gave {_describe_output(prediction.output)} instead of an image",
        "it is paid for; does this model draw?",
    )


def output_urls(output: Any) -> tuple[str, ...]:
    """The URLs in a prediction's output: a string, a list of them, or an object with one."""
    if isinstance(output, Mapping) and isinstance(output.get("images"), list):
        output = output["images"]
    urls = []
    for item in output if isinstance(output, list) else [output]:
        url = item.get("url") or item.get("image") if isinstance(item, Mapping) else item
        if isinstance(url, str) and _URL.match(url):
            urls.append(url)
    return tuple(urls)


def _describe_output(output: Any) -> str:
    for kind, words in ((str, "text"), (Mapping, "an object without an image"), (list, "a list")):
        if isinstance(output, kind):
            return words
    return "nothing" if output is None else "a value"


def details_of(prediction: Prediction, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the sidecar shows besides the request; without prompts, as images may contain it."""
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
    """The value, with each picture in a data URL replaced by its hash."""
    if isinstance(value, list):
        return [_shorten(one) for one in value]
    if isinstance(value, str) and value.startswith("data:"):
        return f"data:sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value
