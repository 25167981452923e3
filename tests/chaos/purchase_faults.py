"""Paid jobs while the provider loses answers and workers are killed and stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from imagen.domain.job import AttemptState, JobState
from imagen.ledger.store.tables import attempts, jobs
from tests.chaos.paid_backend import (
    BACKEND,
    HANGS_S,
    LEASE_S,
    TOKEN_ENV,
    open_provider,
    paid_backends,
    paid_workers,
)
from tests.chaos.scenario import Scenario, ScenarioRun
from tests.chaos.worker_pool import Slot
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.processes.environment import HOST
from tests.processes.kill_points import KillPoint
from tests.processes.worker_process import WorkerProcess

#: The share of the jobs that have ended when the last fault is injected.
_LAST_FAULT_AT = 0.8
#: How many create calls in a row are throttled.
_BURST = 12
#: How many of the kills hit the results worker.
_RESULTS_SHARE = 0.15


def purchase_faults(
    folder: Path,
    *,
    seed: int = 1,
    jobs: int = 180,
    equal_jobs: int = 20,
    kills: int = 6,
    freezes: int = 5,
    bursts: int = 3,
    kill_points: Mapping[str, Sequence[KillPoint]] | None = None,
    threads: int = 6,
    **settings: Any,
) -> Scenario:
    """Jobs at a fake Replicate; every prediction must be paid for once.

    ``jobs`` have a prompt and a seed of their own; ``equal_jobs`` have the same, so that the
    provider's list cannot tell them apart. A ``burst`` is a number of throttled calls in a row.
    """
    provider = open_provider(seed)
    faults = _PurchaseFaults(provider, jobs, equal_jobs, kills, freezes, bursts)
    return Scenario(
        folder,
        backends=paid_backends(provider),
        slots=_slots(),
        submit=faults.submit,
        inject=faults.inject,
        seed=seed,
        workers=paid_workers(threads=threads),
        secrets={TOKEN_ENV: provider.stage.tokens[0]},
        kill_points=kill_points or {},
        idle_share=0.0,
        provider=provider,
        **{"timeout_s": 400.0, **settings},
    )


def _slots() -> list[Slot]:
    """On a host of its own, only the lease tells other processes that a worker has ended."""
    return [
        Slot("cloud", uses_kill_points=True),
        Slot("cloud", uses_kill_points=True),
        Slot("cloud", "far-away", uses_kill_points=True),
        Slot("results", HOST),
    ]


@dataclass(frozen=True)
class _PurchaseFaults:
    provider: FakeReplicate
    jobs: int
    equal_jobs: int
    kills: int
    freezes: int
    bursts: int

    def submit(self, run: ScenarioRun) -> None:
        equal = ["one of many foxes"] * self.equal_jobs
        others = [f"fox number {number}" for number in range(self.jobs)]
        for prompts, seed in ((equal, 7), (others, 0)):
            if prompts:
                run.environment.submit(prompts, backend=BACKEND, size="512x512", seed=seed)

    def inject(self, run: ScenarioRun) -> None:
        """Let workers end at all kill points, then inject each fault at its share of the jobs."""
        check = run.deadline()
        while run.pool.points_left() and not self._is_over(run):
            check()
            run.pool.wait(0.02)
        faults = ["kill"] * self.kills + ["freeze"] * self.freezes + ["burst"] * self.bursts
        run.random.shuffle(faults)
        for number, fault in enumerate(faults):
            due = run.environment.submitted * _LAST_FAULT_AT * number / len(faults)
            while run.environment.count_ended() < due:
                check()
                # Answers hang, so that workers are stopped and killed in the middle of a call.
                self.provider.stage.hang_s = run.random.choice(HANGS_S)
                run.pool.wait(0.05)
            self._inject_one(run, fault)

    def _inject_one(self, run: ScenarioRun, fault: str) -> None:
        match fault:
            case "kill":
                is_results = run.random.random() < _RESULTS_SHARE
                run.pool.kill(_wait_for_worker(run, "results" if is_results else "cloud"))
            case "freeze":
                worker = _purchasing_worker(run) or _wait_for_worker(run, "cloud")
                run.pool.freeze(worker, for_s=LEASE_S * run.random.uniform(0.6, 2.0))
            case "burst":
                run.pool.note(f"the next {_BURST} create calls are throttled")
                run.pool.counts["429 bursts"] += 1
                self.provider.inject(ReplicateFault.THROTTLED, _BURST)

    def _is_over(self, run: ScenarioRun) -> bool:
        return run.environment.count_ended() >= run.environment.submitted


def _wait_for_worker(run: ScenarioRun, role: str) -> WorkerProcess:
    """A worker of that role, once one runs: all may be frozen."""
    check = run.deadline()
    while (worker := run.pool.pick(role)) is None:
        check()
        run.pool.wait(0.05)
    return worker


def _purchasing_worker(run: ScenarioRun) -> WorkerProcess | None:
    """The worker that recorded the latest intent without an id yet."""
    latest = (
        select(jobs.c.lease_owner)
        .join(attempts, attempts.c.id == jobs.c.attempt_id)
        .where(attempts.c.state == AttemptState.INTENDED, jobs.c.state == JobState.RUNNING)
        .order_by(attempts.c.intended_at.desc())
        .limit(1)
    )
    with run.environment.ledger.read() as connection:
        owner = connection.scalar(latest) or ""
    running = run.pool.running("cloud")
    return next((each for each in running if owner.startswith(each.owner_prefix)), None)
