"""What both hosts of the fake Replicate share: their settings and their answers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.fakes.faults import FaultQueue
from tests.fakes.http import FakeHandler, RecordedRequest
from tests.fakes.replicate.faults import Moment, ReplicateFault
from tests.fakes.replicate.world import PredictionStore


@dataclass
class FakeSettings:
    """What the handlers of one fake share.

    Attributes:
        delivery_url: where outputs are.
        tokens: the accepted ones.
        retry_after_s: what a 429 asks for; ``hang_s``: how long an answer that hangs takes;
            ``trickle_s``: the time between two bytes of one that trickles.
        creates_per_minute: a real limit on creating, or None.
        page_size: of the list.
    """

    world: PredictionStore
    faults: FaultQueue[ReplicateFault]
    tokens: tuple[str, ...]
    delivery_url: str = ""
    retry_after_s: float = 0.2
    hang_s: float = 2.0
    trickle_s: float = 1.0
    creates_per_minute: int | None = None
    page_size: int = 100


class ReplicateHandler(FakeHandler):
    """One connection. ``stage`` is set on a subclass, one for each fake."""

    host: ClassVar[str]
    stage: ClassVar[FakeSettings]
    server_version = "FakeReplicate"

    def note(self, body: bytes = b"") -> None:
        """Record the request."""
        headers = dict(self.headers.items())
        request = RecordedRequest(self.command, self.path, headers, body, host=self.host)
        self.stage.world.note(request)

    def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON answer."""
        kind = "application/json" if status < 400 else "application/problem+json"
        self.send(status, json.dumps(body).encode(), kind, headers=headers)

    def trickle(self, body: Any) -> None:
        """Send a JSON answer that is right, a byte at a time, until the client hangs up."""
        data = json.dumps(body).encode()
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.stage.trickle_s)

    def problem(self, status: int, title: str, detail: str, **more: Any) -> None:
        self.answer(status, {"title": title, "detail": detail, "status": status, **more})

    def next_fault(self, moment: Moment) -> ReplicateFault | None:
        return self.stage.faults.next(lambda fault: fault.moment is moment)
