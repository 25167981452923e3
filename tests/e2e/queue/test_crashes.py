"""Nothing is lost, doubled or left behind, whoever dies and wherever."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.chaos.kill_points import POINTS
from tests.chaos.random_faults import Scene, perform

pytestmark = pytest.mark.e2e

# Few at a time: SQLite lets one process write at once, and the points are the same.
_SOME_POINTS = {role: points[::3] for role, points in POINTS.items()}


@pytest.mark.parametrize("role", POINTS)
def test_every_place_to_die_at_is_in_the_program(role):
    for point in POINTS[role]:
        module, _, path = point.target.partition(":")
        place = importlib.import_module(module)
        for name in path.split("."):
            place = getattr(place, name)

        assert callable(place), point


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("database", "points", "seed"),
    [("postgresql", POINTS, 1), ("sqlite", _SOME_POINTS, 2)],
    ids=["postgresql", "sqlite"],
)
def test_workers_and_servers_that_die_anywhere_lose_and_double_nothing(
    tmp_path: Path, database, points, seed
):
    scene = Scene(
        tmp_path / "stage", seed=seed, jobs=100, kills=6, database=database, points=points
    )

    ending = perform(scene)

    assert not ending.audit.breaches, "\n".join(ending.audit.breaches)
    assert ending.audit.images == ending.audit.sidecars == ending.audit.jobs > 100
    assert ending.audit.calls > 0
    wanted = sorted(str(point) for role in points.values() for point in role)
    assert sorted(str(point) for point in ending.pool.died_at) == wanted
    # Who is started while the ledger is away says so with status 5.
    ends = {what for what in ending.pool.counts if what.startswith("exit")}
    assert ends <= {"exit 5"}
    assert ending.watch.still_open == 0
    assert ending.watch.recovered != []
