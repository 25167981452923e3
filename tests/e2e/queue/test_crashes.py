"""No job is lost, doubled or left behind, wherever a worker or a server dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.random_faults import random_faults
from tests.chaos.scenario import run_scenario
from tests.processes.kill_points import KILL_POINTS, find_target

pytestmark = pytest.mark.e2e

# Few at a time: SQLite lets one process write at once, and the kill points are the same.
_SOME_POINTS = {role: points[::3] for role, points in KILL_POINTS.items()}


@pytest.mark.parametrize("role", KILL_POINTS)
def test_every_kill_point_is_in_the_program(role):
    for point in KILL_POINTS[role]:
        assert callable(find_target(point)), point


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("database", "kill_points", "seed"),
    [("postgresql", KILL_POINTS, 1), ("sqlite", _SOME_POINTS, 2)],
    ids=["postgresql", "sqlite"],
)
def test_workers_and_servers_that_die_anywhere_lose_and_double_nothing(
    tmp_path: Path, database, kill_points, seed
):
    scenario = random_faults(
        tmp_path / "run",
        seed=seed,
        jobs=100,
        kills=6,
        database=database,
        kill_points=kill_points,
    )

    result = run_scenario(scenario)

    assert not result.breaches, "\n".join(result.breaches)
    assert result.audit.images == result.audit.sidecars == result.audit.jobs > 100
    assert result.audit.calls > 0
    wanted = sorted(str(point) for role in kill_points.values() for point in role)
    assert sorted(str(point) for point in result.pool.died_at) == wanted
    # A worker that is started while the ledger is away ends with status 5.
    ends = {what for what in result.pool.counts if what.startswith("exit")}
    assert ends <= {"exit 5"}
    assert result.recovery.still_open == 0
    assert result.recovery.recovered != []
