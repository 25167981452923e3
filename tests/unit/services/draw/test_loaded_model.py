"""Threads of one process that claim at the same time agree on what is loaded."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from imagen.services.draw import draw as generate
from imagen.services.draw.draw import LoadedModel
from imagen.services.leases.heartbeat import Heartbeat


def test_a_job_without_a_model_leaves_what_is_loaded() -> None:
    loaded = LoadedModel("schnell")
    loaded.use(None)

    assert loaded.name == "schnell"


def test_a_claim_knows_what_the_claim_before_it_will_have_loaded(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = sqlite_studio
    for model in ("schnell", "dev"):
        studio.desk.submit(affinity=model)
    known: list[str | None] = []
    is_crowded = threading.Event()

    def claim_slowly(ledger: Any, claimant: Any, **options: Any) -> Any:
        known.append(claimant.model)
        if len(known) > 1:
            is_crowded.set()
        # Time enough for the other thread, unless it has to wait for this one.
        is_crowded.wait(0.2)
        return real(ledger, claimant, **options)

    real = generate.claim_job
    monkeypatch.setattr(generate, "claim_job", claim_slowly)
    heartbeat = Heartbeat(studio.desk.ledger, "one", 30.0, 10.0, studio.clock)
    drawing = generate.DrawService(
        studio.desk.ledger,
        studio.backends,
        heartbeat,
        studio.publisher,
        studio.clock,
        studio.policy,
        studio.circuits(),
    )
    threads = [
        threading.Thread(target=drawing.draw_next, args=(studio.desk.claimant(),)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert known == [None, "schnell"]
