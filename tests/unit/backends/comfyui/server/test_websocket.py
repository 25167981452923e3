"""The event socket helps while it lives and never stands in the way when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from imagen.backends.comfyui.server.websocket import EventSocket, PromptEvent, parse_event
from tests.fakes.comfyui import FakeComfyUI


@pytest.fixture
def events(fake: FakeComfyUI) -> Iterator[EventSocket]:
    events = EventSocket(fake.url, headers={}, reconnect_s=0.01)
    yield events
    events.close()


@pytest.mark.parametrize(
    ("kind", "data", "event"),
    [
        ("status", {"status": {}}, PromptEvent("queue")),
        ("execution_start", {"prompt_id": "p"}, PromptEvent("alive", "p")),
        ("executing", {"prompt_id": "p", "node": "3"}, PromptEvent("alive", "p", node="3")),
        ("executing", {"prompt_id": "p", "node": None}, PromptEvent("ended", "p")),
        ("execution_success", {"prompt_id": "p"}, PromptEvent("ending", "p")),
        ("execution_interrupted", {"prompt_id": "p"}, PromptEvent("ending", "p")),
        ("progress", {"prompt_id": "p", "value": 1, "max": 4}, PromptEvent("progress", "p", 1, 4)),
        ("progress", {"prompt_id": "p", "value": 9, "max": 4}, PromptEvent("alive", "p")),
        ("progress", {"prompt_id": "p"}, PromptEvent("alive", "p")),
        ("crystools.monitor", {"cpu": 3}, None),
    ],
)
def test_messages_are_reduced_to_what_matters(
    kind: str, data: dict[str, Any], event: PromptEvent | None
) -> None:
    assert parse_event(json.dumps({"type": kind, "data": data})) == event


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"type": "status"}', b"\xff\xfe", b"7"])
def test_nonsense_is_no_event(text: bytes) -> None:
    assert parse_event(text) is None


def test_a_first_status_greets_who_connects(events: EventSocket) -> None:
    events.open()

    assert events.wait(5.0) == PromptEvent("queue")


def test_waiting_for_an_event_connects(events: EventSocket) -> None:
    assert events.wait(5.0) == PromptEvent("queue")
    assert events.is_open


def test_every_connection_has_a_client_id_of_its_own(
    fake: FakeComfyUI, events: EventSocket
) -> None:
    events.open()
    first_id = events.client_id
    assert events.wait(5.0)

    fake.restart()
    fake.wait_until(lambda: events.wait(0.05) == PromptEvent("queue"))

    assert events.client_id != first_id


def test_waiting_at_a_dead_server_returns_when_its_time_is_over(
    fake: FakeComfyUI, events: EventSocket
) -> None:
    fake.kill()

    assert events.wait(0.05) is None
    assert not events.is_open


def test_closing_twice_is_fine(events: EventSocket) -> None:
    events.open()

    events.close()
    events.close()

    assert not events.is_open
