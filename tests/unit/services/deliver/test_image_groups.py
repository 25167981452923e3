"""The images of a drain are in memory a group at a time, however many and large they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from imagen.domain.job import JobState
from imagen.ledger.jobs.delivery import claim_deliveries
from imagen.services.deliver import image_groups
from imagen.services.deliver.finished_image import finish_image
from imagen.services.deliver.image_groups import finished_groups


def claims_of(studio: Any, number: int) -> Any:
    for _ in range(number):
        studio.desk.generated()
    return claim_deliveries(studio.desk.ledger, studio.desk.claimant(), host="here")


def groups(studio: Any, claims: Any, **how: Any) -> list[list[UUID]]:
    finished = finished_groups(studio.desk.ledger, claims, finish_image, **how)
    return [[image.claim.job.id for image in group] for group in finished]


def test_all_images_that_fit_together_are_one_group_in_order(studio: Any) -> None:
    claims = claims_of(studio, 5)

    assert groups(studio, claims) == [[claim.job.id for claim in claims]]


def test_a_group_ends_when_its_images_have_so_many_bytes(studio: Any) -> None:
    claims = claims_of(studio, 5)
    one = finish_image(claims[0], _artifact(studio, claims[0])).size_bytes

    sizes = [len(each) for each in groups(studio, claims, most_bytes=one + 1)]

    assert sizes == [2, 2, 1]


def test_artifacts_are_read_a_few_at_a_time(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = claims_of(studio, 5)
    size = len(_artifact(studio, claims[0]).data)
    monkeypatch.setattr(image_groups, "READ_BYTES", 2 * size + size // 2)
    read: list[int] = []
    load = image_groups.load_artifacts

    def note(ledger: Any, ids: list[UUID]) -> Any:
        read.append(len(ids))
        return load(ledger, ids)

    monkeypatch.setattr(image_groups, "load_artifacts", note)

    assert len(groups(studio, claims)[0]) == 5
    assert read == [2, 2, 1]


def test_every_job_of_a_drain_is_delivered_under_a_name_of_its_own(studio: Any) -> None:
    ids = [studio.desk.generated() for _ in range(5)]

    outcomes = studio.deliver(most_bytes=1)

    assert [outcome.job_id for outcome in outcomes] == ids
    assert {outcome.state for outcome in outcomes} == {JobState.SUCCEEDED}
    assert len([name for name in studio.files() if name.endswith(".png")]) == 5


def _artifact(studio: Any, claim: Any) -> Any:
    return image_groups.load_artifacts(studio.desk.ledger, [claim.job.id])[claim.job.id]
