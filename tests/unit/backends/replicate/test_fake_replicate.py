"""The fake Replicate keeps state, counts calls, and injects faults."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.fakes.replicate import FakeReplicate, ReplicateFault

CHECKOUT = Path(__file__).parents[4]

HEADERS = {"Authorization": "Bearer test-token"}
SCHNELL = "/v1/models/black-forest-labs/flux-schnell/predictions"


def create(url: str, **inputs: object) -> requests.Response:
    body = {"input": {"prompt": "a fox", "seed": 1, **inputs}}
    return requests.post(f"{url}{SCHNELL}", json=body, headers=HEADERS, timeout=5)


def test_a_prediction_lives_from_creation_to_output(fake: FakeReplicate) -> None:
    fake.world.draw_s = 0.05
    made = create(fake.url).json()
    url = f"{fake.url}/v1/predictions/{made['id']}"

    deadline_s = time.monotonic() + 5
    while (now := requests.get(url, headers=HEADERS, timeout=5).json())["status"] != "succeeded":
        assert time.monotonic() < deadline_s

    assert made["output"] is None
    assert requests.get(now["output"][0], timeout=5).headers["Content-Type"] == "image/webp"
    (told,) = fake.stats()["predictions"]
    assert told["told_at"] >= told["ready_at"]


def test_what_the_real_one_refuses_is_refused(fake: FakeReplicate) -> None:
    wrong_steps = create(fake.url, num_inference_steps=20)
    unknown_key = create(fake.url, negative_prompt="text")
    by_name = requests.post(
        f"{fake.url}/v1/models/acme/painter/predictions",
        json={"input": {"prompt": "x"}},
        headers=HEADERS,
        timeout=5,
    )
    nobody = requests.get(f"{fake.url}/v1/account", timeout=5)

    assert wrong_steps.json()["invalid_fields"][0]["field"] == "input.num_inference_steps"
    assert unknown_key.status_code == 422
    assert by_name.status_code == 404
    assert nobody.status_code == 401
    assert fake.world.created_count() == 0


def test_the_list_is_paged_newest_first_and_lags(fake: FakeReplicate) -> None:
    fake.stage.page_size = 2
    ids = [create(fake.url, seed=number).json()["id"] for number in range(5)]
    listed, url = [], f"{fake.url}/v1/predictions"

    while url:
        page = requests.get(url, headers=HEADERS, timeout=5).json()
        listed += [one["id"] for one in page["results"]]
        url = page["next"]
    fake.world.list_lag_s = 60
    create(fake.url)

    assert listed == ids[::-1]
    first = requests.get(f"{fake.url}/v1/predictions", headers=HEADERS, timeout=5).json()
    assert first["results"][0]["id"] == ids[-1]


@pytest.mark.parametrize(
    ("fault", "created"),
    [(ReplicateFault.LOST_BEFORE_CREATION, 0), (ReplicateFault.LOST_AFTER_CREATION, 1)],
)
def test_an_answer_can_be_lost_on_either_side_of_the_creation(
    fake: FakeReplicate, fault: ReplicateFault, created: int
) -> None:
    fake.inject(fault)

    with pytest.raises(requests.ConnectionError):
        create(fake.url)

    assert fake.world.created_count(prompt="a fox", seed=1) == created


def test_faults_by_chance_repeat_with_the_seed() -> None:
    def statuses() -> list[int]:
        chances = {ReplicateFault.ERROR_AFTER_CREATION: 0.3, ReplicateFault.NO_CREDIT: 0.3}
        with FakeReplicate(chances=chances, seed=5) as fake:
            return [create(fake.url).status_code for _ in range(20)]

    first = statuses()

    assert set(first) == {201, 402, 504}
    assert statuses() == first


def test_a_limit_on_creates_is_kept(fake: FakeReplicate) -> None:
    fake.stage.creates_per_minute = 2

    answers = [create(fake.url) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert "retry_after" in answers[-1].json()


def test_as_a_process_it_tells_its_counts_and_takes_orders() -> None:
    command = [sys.executable, "-m", "tests.fakes.replicate", "--chance", "no_credit=0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        inject = {"fault": "no_credit", "times": 1}
        requests.post(f"{url}/_fake/inject", json=inject, timeout=5)
        requests.post(f"{url}/_fake/settings", json={"draw_s": 9}, timeout=5)
        statuses = [create(url).status_code for _ in range(2)]
        stats = requests.get(f"{url}/_fake/stats", timeout=5).json()
        seen = requests.get(f"{url}/_fake/requests", timeout=5).json()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)

    assert statuses == [402, 201]
    assert stats["created"] == 1
    assert stats["created_by_seed"] == {"1": 1}
    assert json.loads(seen[0]["body"])["input"]["prompt"] == "a fox"
    assert code == 0


@pytest.mark.parametrize("body", [{"json": {}}, {"data": b"x"}])
def test_a_cancel_with_a_body_is_refused_as_by_replicates_contract(
    fake: FakeReplicate, body: dict[str, object]
) -> None:
    fake.world.draw_s = 60
    made = create(fake.url).json()
    url = f"{fake.url}/v1/predictions/{made['id']}/cancel"

    refused = requests.post(url, headers=HEADERS, timeout=5, **body)  # type: ignore[arg-type]
    taken = requests.post(url, headers=HEADERS, timeout=5)

    assert refused.status_code == 415
    assert (taken.status_code, taken.json()["status"]) == (200, "canceled")


def test_a_prediction_has_the_fields_that_replicates_document_requires(
    fake: FakeReplicate,
) -> None:
    """Found with a validating proxy in front of the fake (Prism 5.14.2, 2026-11)."""
    fake.world.draw_s = 60
    made = create(fake.url).json()

    assert made["data_removed"] is False
    assert set(made["urls"]) == {"get", "cancel", "web"}
    assert "completed_at" not in made
