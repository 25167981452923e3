"""Every kind of fault at random: workers, Redis and PostgreSQL end anywhere, clocks are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagen.errors import ImagenError
from tests.chaos.scenario import Scenario, ScenarioRun
from tests.chaos.worker_pool import Slot
from tests.processes.environment import SHORT_LEASES
from tests.processes.kill_points import KILL_POINTS, KillPoint

_PROMPTS = ("a fox in the snow", "a lighthouse at dawn", "two owls", "a harbour")
#: How often each backend is used.
_SHARES = {"quick": 0.45, "paid": 0.45, "slow": 0.06, "shaky": 0.04}
#: Some clocks are wrong by so many seconds.
_SKEW_S = 3600.0
_FAULTS = ("terminate", "freeze", "kill redis", "flush redis", "kill postgres")


def random_faults(
    folder: Path,
    *,
    jobs: int = 200,
    kills: int = 10,
    kill_points: Mapping[str, Sequence[KillPoint]] = KILL_POINTS,
    workers: Mapping[str, Any] = SHORT_LEASES,
    has_own_hosts: bool = False,
    **settings: Any,
) -> Scenario:
    """At least ``jobs`` jobs, ``kills`` SIGKILLs, one fault of each kind, and all kill points.

    With ``has_own_hosts`` each drawing process is on a host of its own.
    """
    faults = _RandomFaults(jobs, kills, lease_s=workers["lease_s"])
    calls_log = folder / "calls.log"
    return Scenario(
        folder,
        backends=_backends(folder, calls_log),
        slots=_slots(has_own_hosts),
        submit=faults.submit_wave,
        inject=faults.inject,
        workers={"max_crashes": 100, "concurrency": {"cloud": 4}, **workers},
        kill_points=kill_points,
        calls_log=calls_log,
        **settings,
    )


def _backends(folder: Path, calls_log: Path) -> dict[str, dict[str, Any]]:
    return {
        "quick": {"type": "mock", "latency_ms": 40},
        "slow": {"type": "mock", "latency_ms": 1500},
        "paid": {
            "type": "mock",
            "queue": "cloud",
            "latency_ms": 60,
            "cost_usd": 0.003,
            "calls_log": str(calls_log),
        },
        "shaky": {
            "type": "mock",
            "latency_ms": 20,
            "fail_first": 2,
            "state_dir": str(folder / "tries"),
        },
    }


def _slots(has_own_hosts: bool) -> list[Slot]:
    """Two of each role, one of them with kill points."""
    own = has_own_hosts
    return [
        Slot("gpu", has_own_host=own),
        Slot("cloud", has_own_host=own),
        Slot("results"),
        Slot("gpu", skew_s=_SKEW_S, has_own_host=own, uses_kill_points=True),
        Slot("cloud", skew_s=-_SKEW_S, has_own_host=own, uses_kill_points=True),
        Slot("results", uses_kill_points=True),
    ]


@dataclass(frozen=True)
class _RandomFaults:
    jobs: int
    kills: int
    lease_s: float

    def submit_wave(self, run: ScenarioRun) -> None:
        """Submit a part of the jobs, some to each backend."""
        number = max(10, self.jobs // 4)
        for backend, share in _SHARES.items():
            prompts = [run.random.choice(_PROMPTS) for _ in range(max(1, round(number * share)))]
            # A SQLite ledger keeps large images as files.
            size = "640x640" if backend == "slow" else "64x64"
            run.environment.submit(prompts, backend=backend, size=size)

    def inject(self, run: ScenarioRun) -> None:
        """Inject all faults in a random order, with jobs to be interrupted all the time."""
        faults = ["kill"] * self.kills + list(_FAULTS)
        if run.postgres_server is None:
            faults.remove("kill postgres")
        run.random.shuffle(faults)
        check = run.deadline()
        while faults or run.pool.points_left():
            check()
            if _count_unfinished(run) < self.jobs // 4:
                self.submit_wave(run)
            if faults:
                self._inject_one(run, faults.pop())
            else:
                run.pool.help_reach_points(run.flush_redis)
            run.pool.wait(run.random.uniform(0.2, 0.7))

    def _inject_one(self, run: ScenarioRun, fault: str) -> None:
        match fault:
            case "kill":
                run.pool.kill(run.pool.pick())
            case "terminate":
                run.pool.terminate(run.pool.pick())
            case "freeze":
                run.pool.freeze(run.pool.pick(), for_s=self.lease_s * 1.5)
            case "kill redis":
                run.kill_redis()
            case "flush redis":
                run.flush_redis()
            case "kill postgres":
                run.kill_postgres()


def _count_unfinished(run: ScenarioRun) -> int:
    try:
        states = run.environment.states()
    except ImagenError:
        return 0
    return sum(number for state, number in states.items() if not state.is_terminal)
