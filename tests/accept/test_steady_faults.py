"""Three hundred jobs while a worker is killed every 2 s, while jobs kill workers, amid garbage."""

from __future__ import annotations

import pytest

from tests.chaos.recovery import percentile
from tests.chaos.scenario import run_scenario
from tests.chaos.steady_faults import count_crashes, steady_faults


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_kill_every_two_seconds_fails_no_healthy_job(tmp_path, database):
    result = run_scenario(steady_faults(tmp_path / "run", database=database, say=print))

    seconds = [each.seconds for each in result.recovery.recovered]
    print(
        f"held again: p50 {percentile(seconds, 0.5):.2f} s, p95 {percentile(seconds, 0.95):.2f} s"
    )
    assert result.breaches == []
    assert count_crashes(result.jobs).failed_others == 0
    assert len(seconds) > 50


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_jobs_that_kill_their_workers_end_and_take_no_other_with_them(tmp_path, database):
    scenario = steady_faults(
        tmp_path / "run",
        jobs=60,
        job_s=0.5,
        kill_every_s=0,
        crashing_jobs=2,
        database=database,
        say=print,
    )

    counts = count_crashes(run_scenario(scenario).jobs)

    assert counts.failed_others == 0
    assert counts.ends == {"failed worker_crashed": 2}
    assert all(5 <= crashes <= 10 for crashes in counts.crashes)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_garbage_in_the_queues_ends_no_worker(tmp_path, database):
    scenario = steady_faults(
        tmp_path / "run",
        job_s=0.2,
        kill_every_s=0,
        garbage_every_s=0.05,
        database=database,
        say=print,
    )

    result = run_scenario(scenario)

    assert result.breaches == []
    assert result.pool.counts["deaths"] == 0
