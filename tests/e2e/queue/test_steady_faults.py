"""Faults that go on while jobs are drawn; `make accept` and `make chaos` have the long forms."""

from __future__ import annotations

import pytest

from tests.chaos.scenario import run_scenario
from tests.chaos.steady_faults import count_crashes, steady_faults

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_workers_that_are_killed_again_and_again_fail_no_job(tmp_path, database):
    scenario = steady_faults(
        tmp_path / "run",
        jobs=40,
        job_s=1.0,
        kill_every_s=1.0,
        garbage_every_s=0.3,
        database=database,
    )

    result = run_scenario(scenario)

    assert result.breaches == []
    assert result.audit.images == 40
    assert count_crashes(result.jobs).failed_others == 0
    assert result.pool.kills > 0
    assert result.pool.counts["garbage"] > 0
