"""A prediction object is read for what it says, and its failures for what they mean."""

from __future__ import annotations

import pytest

from imagen.backends.replicate.api.predictions import (
    FailureKind,
    classify_failure,
    read_prediction,
)


def test_a_create_answer_without_output_or_metrics_is_read() -> None:
    prediction = read_prediction({"id": "x1", "status": "starting", "version": "hidden"})

    assert prediction is not None
    assert not prediction.is_terminal
    assert prediction.took_s is None


@pytest.mark.parametrize("body", [None, [], {}, {"id": ""}, {"id": 5}, "text"])
def test_a_body_without_an_id_is_no_prediction(body: object) -> None:
    assert read_prediction(body) is None


@pytest.mark.parametrize(
    ("status", "is_terminal"),
    [("succeeded", True), ("aborted", True), ("starting", False), ("brand-new", False)],
)
def test_an_unknown_status_is_not_the_end(status: str, is_terminal: bool) -> None:
    prediction = read_prediction({"id": "x1", "status": status})

    assert prediction is not None
    assert prediction.is_terminal is is_terminal


def test_the_duration_is_the_providers_own() -> None:
    prediction = read_prediction(
        {
            "id": "x1",
            "status": "succeeded",
            "created_at": "2026-11-20T09:00:00.100Z",
            "completed_at": "2026-11-20T09:00:01.350Z",
        }
    )

    assert prediction is not None
    assert prediction.took_s == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            "All generated images contained NSFW content. Try running it again with a different"
            " prompt.",
            FailureKind.MODERATION,
        ),
        (
            "NSFW content detected. Try running it again, or try a different prompt.",
            FailureKind.MODERATION,
        ),
        (
            "Prediction failed: Async prediction failed: ModelError: The input or output was"
            " flagged as sensitive. Please try again with different inputs. (E005) (x)",
            FailureKind.MODERATION,
        ),
        ("Prediction interrupted; please retry (code: PA)", FailureKind.TRANSIENT),
        ("Director: unexpected error handling prediction (E9828)", FailureKind.TRANSIENT),
        (
            "Service is temporarily unavailable. Please try again later. (E004)",
            FailureKind.TRANSIENT,
        ),
        ("", FailureKind.TRANSIENT),
        ("CUDA error: device-side assert", FailureKind.PERMANENT),
        ("ValueError: E00412 is not a colour", FailureKind.PERMANENT),
    ],
)
def test_a_failure_is_sorted_by_its_text(error: str, kind: FailureKind) -> None:
    assert classify_failure(error) is kind
