"""How much memory a results worker takes when many large images wait for it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.domain.cost import Cost
from imagen.domain.drawn import Drawn
from imagen.domain.job import JobState
from imagen.ledger.jobs.artifacts import artifact_of
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.generated import Finish, record_generated
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.draw import record_drawing
from tests.waiting import wait_until

MOST_BYTES = 250 * 1024 * 1024
#: More than two drains of 64.
_NUMBER = 140


def large_png() -> bytes:
    """1.6 MB, as FLUX makes them at 1024x1024."""
    noise = random.Random(7).randbytes(740 * 720 * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", (740, 720), noise).save(out, "PNG", compress_level=1)
    return out.getvalue()


def generate_all(ledger: Ledger, data: bytes) -> None:
    while claim := claim_job(ledger, Claimant("drawer", ["gpu"], 60.0)):
        drawn = Drawn(data, "mock-landscape", 7, 4, Cost(None, "unknown"))
        record = record_drawing(claim.job, drawn)
        finish = Finish(drawn, record, artifact_of(claim, data), 100)
        record_generated(ledger, claim, finish, durable=False)


def peak_bytes(pid: int) -> int:
    """The most memory that the process had at once."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, make_environment: Callable[..., Any]) -> Any:
    if request.param == "sqlite":
        return make_environment()
    return make_environment(database_url=request.getfixturevalue("postgres_url"))


def test_a_results_worker_takes_250_mb_at_most_however_large_the_images_are(
    environment: Any,
) -> None:
    environment.submit(f"fox {number}" for number in range(_NUMBER))
    generate_all(environment.ledger, large_png())
    assert environment.states() == {JobState.GENERATED: _NUMBER}

    worker = environment.start_ready("results")
    wait_until(
        lambda: environment.states() == {JobState.SUCCEEDED: _NUMBER},
        what="all is delivered",
        timeout_s=240,
    )

    peak = peak_bytes(worker.pid)
    print(f"peak: {peak / 1024 / 1024:.0f} MiB")
    assert peak <= MOST_BYTES
