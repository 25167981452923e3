"""A prediction is read from answers of any shape."""

from __future__ import annotations

import pytest

from imagen.backends.replicate.api.predictions import read_prediction


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
