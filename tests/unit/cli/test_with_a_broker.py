"""The same commands where workers draw: accepted at once, waited for on request."""

from __future__ import annotations

import pytest

NOWHERE = "redis://127.0.0.1:1/0"
FOX = ("generate", "a fox", "--backend", "mock", "--size", "64x64")


@pytest.fixture
def broker(redis_url) -> dict[str, str]:
    return {"IMAGEN_BROKER_URL": redis_url}


def test_generate_answers_with_the_id_at_once(imagen, broker):
    done = imagen(*FOX, env=broker)

    assert done.code == 0
    assert imagen("jobs", "show", done.out.strip(), "--json").json["state"] == "queued"


def test_generate_with_json_answers_with_what_is_settled(imagen, broker):
    done = imagen(*FOX, "--json", "--seed", "4", env=broker)

    assert done.json["state"] == "queued"
    assert done.json["seed"] == 4
    assert done.json["error"] is None


def test_giving_up_leaves_the_job_to_the_workers(imagen, broker):
    done = imagen(*FOX, "--wait", "--timeout", "0.3", "--json", env=broker)

    assert done.code == 6
    assert done.json["state"] == "queued"
    assert f"imagen jobs wait {done.json['id']}" in done.err


def test_a_job_is_accepted_while_redis_is_away(imagen):
    done = imagen(*FOX, "--json", env={"IMAGEN_BROKER_URL": NOWHERE})

    assert done.code == 5
    assert done.json["state"] == "queued"
    assert "is accepted" in done.json["error"]["message"]
    assert imagen("jobs", "show", done.json["id"]).code == 0


def test_retry_puts_back_and_answers_at_once(imagen, broker):
    id_ = imagen(*FOX, env=broker).out.strip()
    imagen("jobs", "cancel", id_)
    done = imagen("jobs", "retry", id_, env=broker)

    assert done.out.strip() == id_
    assert imagen("jobs", "show", id_, "--json").json["state"] == "queued"


def test_a_worker_needs_a_role(imagen, broker):
    done = imagen("worker", env=broker)

    assert done.code == 3
    assert "imagen worker gpu" in done.err
