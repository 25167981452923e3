"""A queue worker reports itself while it runs, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagen.ledger.jobs.worker_rows import Worker, live_workers
from imagen.ledger.store.engine import Ledger
from imagen.queue.worker.queue_worker import QueueWorker
from imagen.services.leases.process_lock import dead_in, enter
from imagen.wiring.parts import opened_ledger, opened_registry
from imagen.wiring.process import Process
from imagen.wiring.queue_parts import make_queue_publisher
from imagen.wiring.worker_parts import running_queue_worker


class HandClock:
    """A clock that goes on by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def process(make_process: Any, redis_url: str) -> Process:
    made: Process = make_process(IMAGEN_BROKER_URL=redis_url)
    return made


@contextmanager
def _running(process: Process, role: str) -> Iterator[tuple[Ledger, QueueWorker]]:
    with opened_ledger(process) as ledger, opened_registry(process, ledger) as registry:
        publisher = make_queue_publisher(process, ledger)
        with running_queue_worker(process, ledger, registry, publisher, role) as worker:
            yield ledger, worker
        assert _alive(ledger) == []
    assert list(process.lock_folder.iterdir()) == []


def _alive(ledger: Ledger) -> list[Worker]:
    return live_workers(ledger, within_s=30.0)


def test_a_results_worker_reports_where_it_may_write(process: Process) -> None:
    with _running(process, "results") as (ledger, _):
        [reported] = _alive(ledger)

    assert (reported.role, reported.queues) == ("results", ("results.here",))
    assert str(Path.home()) in (reported.allowed_dirs or ())


def test_a_drawing_worker_reports_what_it_serves_and_no_folders(process: Process) -> None:
    with _running(process, "gpu") as (ledger, _):
        [reported] = _alive(ledger)

    assert "mock" in reported.backends
    assert reported.allowed_dirs is None


def test_a_worker_that_stops_draws_nothing_more(process: Process) -> None:
    with _running(process, "gpu") as (_, worker):
        pass

    assert worker.drawing.stopping.is_set()
    assert worker.drawing.draw_one() is None


def test_a_gpu_worker_removes_the_lock_files_of_processes_that_are_long_dead(
    process: Process,
) -> None:
    clock = HandClock()
    process = replace(process, clock=clock)
    os.close(enter(process.lock_folder, "here:1:dead").handle)

    with _running(process, "gpu") as (_, worker):
        assert dead_in(process.lock_folder) == {"here:1:dead"}
        beat = worker.stop.heartbeat.on_beat
        assert beat is not None
        clock.sleep(601)
        beat()
        assert dead_in(process.lock_folder) == set()
