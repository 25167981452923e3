"""How idle the GPU is, how soon an image is on disk, and how often models are loaded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select

from benchmarks.bench import Bench, Home, Opened
from benchmarks.provider import fake_comfyui, stats_of
from benchmarks.rows import Aim, Row
from imagen.domain.scope import Scope
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.store.tables import attempts, jobs
from imagen.local.local_executor import LocalExecutor
from imagen.services.draw.draw import LoadedModel
from imagen.services.draw.isolation import IsolatedDrawing
from imagen.services.submit.resolve import RequestInput, make_draft, resolve
from imagen.wiring.executors import local_executor
from imagen.wiring.parts import held_lock, submit_context
from tests.fakes.comfyui import FakeComfyUI

_DRAW_S = 0.1
_LOAD_S = 2.0
_QUICK_LOAD_S = 0.2
_ALTERNATING_JOBS = 40


@dataclass
class _NoPreference(LoadedModel):
    """Never knows what is loaded, so a claim takes jobs as they come."""

    def use(self, affinity: str | None) -> None:
        """Forget it at once."""


def measure(bench: Bench) -> list[Row]:
    """All through the embedded executor: threads of one process, SQLite."""
    jobs_each = 40 if bench.quick else 100
    alone = Row("GPU idle, 1 in flight", [_idle_share(bench, 1, jobs_each)], "%")
    pair = Row("GPU idle, 2 in flight", [_idle_share(bench, 2, jobs_each)], "%", alone,
               Aim.at_most(3))  # fmt: skip
    to_disk = Row("drawn to file on disk, p50", [_to_disk_ms(bench, jobs_each)], "ms", None,
                  Aim.at_most(30))  # fmt: skip
    load_s = _QUICK_LOAD_S if bench.quick else _LOAD_S
    what = f"{_ALTERNATING_JOBS} alternating jobs, loads"
    unaware = Row(f"{what}, in order of submission",
                  [_loads(bench, load_s, prefers=False)], "loads")  # fmt: skip
    aware = Row(f"{what}, loaded model first", [_loads(bench, load_s, prefers=True)], "loads",
                unaware, Aim.at_most(4))  # fmt: skip
    return [alone, pair, to_disk, unaware, aware]


def _idle_share(bench: Bench, in_flight: int, number: int) -> float:
    """Percent of the time from the first start to the last end in which nothing ran."""
    with fake_comfyui("--draw-s", str(_DRAW_S)) as url:
        with _executor(bench, url, threads={"gpu": in_flight}) as (opened, executor):
            _run_all(executor, _submit(opened, ["schnell"] * number))
        return float(stats_of(url)["idle_share"]) * 100


def _to_disk_ms(bench: Bench, number: int) -> float:
    """From the device's last step to the file's final name, by the file system's clock.

    That clock may be behind by up to 4 ms on Linux, one tick.
    """
    with (
        FakeComfyUI(draw_s=_DRAW_S) as fake,
        _executor(bench, fake.url) as (opened, executor),
    ):
        _run_all(executor, _submit(opened, ["schnell"] * number))
        wall_ahead_s = time.time() - time.monotonic()
        ended_s = {one.prompt_id: (one.ended_at_s or 0) + wall_ahead_s for one in fake.executions}
        with opened.ledger.read() as connection:
            rows = connection.execute(
                select(attempts.c.external_id, jobs.c.output_path).join(
                    jobs, jobs.c.id == attempts.c.job_id
                )
            ).all()
    taken_s = [Path(row.output_path).stat().st_ctime - ended_s[row.external_id] for row in rows]
    return sorted(taken_s)[len(taken_s) // 2] * 1000


def _loads(bench: Bench, load_s: float, *, prefers: bool) -> float:
    with fake_comfyui("--draw-s", "0.02", "--load-s", str(load_s)) as url:
        with _executor(bench, url) as (opened, executor):
            if not prefers:
                work = executor.draw_work
                unaware = replace(work.isolated.drawing, loaded=_NoPreference())
                executor.draw_work = replace(work, isolated=IsolatedDrawing(unaware))
            _run_all(executor, _submit(opened, ["schnell", "dev"] * (_ALTERNATING_JOBS // 2)))
        return float(stats_of(url)["loads"])


@contextmanager
def _executor(
    bench: Bench, url: str, *, threads: Mapping[str, int] | None = None
) -> Iterator[tuple[Opened, LocalExecutor]]:
    """The executor of a new home whose two backends are on that server."""
    home: Home = bench.home("SQLite")
    path = home.folder / "imagen.yaml"
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    config["backends"] = {
        "schnell": {"type": "comfyui", "url": url, "workflow": "flux-schnell"},
        "dev": {"type": "comfyui", "url": url, "workflow": "flux-dev"},
    }
    config["default_backend"] = "schnell"
    path.write_text(yaml.safe_dump(config))
    with home.opened() as opened:
        process, ledger = opened.process, opened.ledger
        with (
            held_lock(process, outbox=ledger) as lock,
            local_executor(process, ledger, opened.registry, lock, threads=threads) as executor,
        ):
            yield opened, executor


def _submit(opened: Opened, backends: Sequence[str]) -> Scope:
    """One job for each, in that order."""
    ids = []
    for number, backend in enumerate(backends):
        request_input = RequestInput(f"a lighthouse, view {number}", backend, "64x64")
        resolved = resolve(request_input, submit_context(opened.process), opened.registry)
        now = datetime.now().astimezone()
        draft = make_draft(resolved, request_input, submit_context(opened.process), now=now)
        submit_job(opened.ledger, draft)
        ids.append(draft.id)
    return Scope(job_ids=tuple(ids))


def _run_all(executor: LocalExecutor, scope: Scope) -> None:
    if not executor.run(scope):
        raise RuntimeError("not every job is through")
