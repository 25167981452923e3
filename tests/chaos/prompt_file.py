"""A file of real prompts, drawn while every worker is killed five times and Redis is flushed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.scenario import Scenario, ScenarioRun
from tests.chaos.worker_pool import Slot

_KILLS_PER_SLOT = 5
_SLOTS = (Slot("gpu"), Slot("gpu"), Slot("results"))


def read_prompts(path: Path) -> list[str]:
    """The first column of a tab-separated file, without its header."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines if line.strip()]


def prompt_file(folder: Path, prompts: list[str], **settings: Any) -> Scenario:
    """Three worker processes on one host draw them, with default settings."""
    faults = _SpreadKills(prompts)
    return Scenario(
        folder,
        backends={"mock": {"type": "mock", "latency_ms": 40}},
        slots=_SLOTS,
        submit=faults.submit,
        inject=faults.inject,
        workers={},
        **{"timeout_s": 600.0, **settings},
    )


@dataclass(frozen=True)
class _SpreadKills:
    prompts: list[str]

    def submit(self, run: ScenarioRun) -> None:
        run.environment.submit(self.prompts)

    def inject(self, run: ScenarioRun) -> None:
        """Spread the kills over the whole run; flush Redis in the middle."""
        slots: list[int | None] = [*range(len(_SLOTS))] * _KILLS_PER_SLOT
        run.random.shuffle(slots)
        slots.insert(len(slots) // 2, None)
        for number, slot in enumerate(slots, start=1):
            # By progress, not by time: so that no kill comes after the last job.
            share = 0.9 * number / (len(slots) + 1) * run.random.uniform(0.9, 1.0)
            while run.environment.count_ended() < share * len(self.prompts):
                run.pool.wait(0.05)
            if slot is None:
                run.flush_redis()
            else:
                run.pool.kill_slot(slot)
