"""Every job is paid for exactly once, whatever answer is lost and whichever worker dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.purchase_faults import purchase_faults
from tests.chaos.scenario import Result, run_scenario
from tests.processes.kill_points import PURCHASE_KILL_POINTS, KillPoint, find_target

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

POINTS = PURCHASE_KILL_POINTS["cloud"]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_every_kill_point_of_a_purchase_is_in_the_program(point: KillPoint) -> None:
    assert callable(find_target(point))


def assert_paid_once(result: Result, *, jobs: int) -> None:
    assert not result.breaches, "\n".join(result.breaches)
    purchases = result.purchases
    assert purchases is not None
    assert result.audit.jobs == result.audit.images == purchases.created == jobs
    # It was not for lack of trouble.
    assert purchases.calls["api POST /v1/models/NAME/predictions"] > jobs
    assert purchases.calls["api GET /v1/predictions"] > 0
    assert result.audit.crashes > 0


def test_two_hundred_jobs_cost_two_hundred_predictions(tmp_path: Path) -> None:
    result = run_scenario(
        purchase_faults(tmp_path / "run", seed=1, jobs=180, equal_jobs=20, kills=8, freezes=6)
    )

    assert_paid_once(result, jobs=200)
    assert result.pool.kills == 8
    assert result.pool.counts["SIGSTOP cloud"] == 6


def test_equal_rows_are_paid_for_once_each(tmp_path: Path) -> None:
    scenario = purchase_faults(
        tmp_path / "run",
        seed=2,
        jobs=0,
        equal_jobs=20,
        kills=3,
        freezes=2,
        bursts=1,
        threads=4,
    )

    assert_paid_once(run_scenario(scenario), jobs=20)


def test_a_worker_that_dies_at_any_step_of_a_purchase_buys_once(tmp_path: Path) -> None:
    scenario = purchase_faults(
        tmp_path / "run",
        seed=3,
        jobs=30,
        equal_jobs=30,
        kills=0,
        freezes=0,
        bursts=0,
        kill_points=PURCHASE_KILL_POINTS,
        threads=3,
    )

    result = run_scenario(scenario)

    assert_paid_once(result, jobs=60)
    assert sorted(map(str, result.pool.died_at)) == sorted(map(str, POINTS))
