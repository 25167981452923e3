"""Every job is paid for exactly once, whoever loses an answer, is stopped or dies."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.chaos.kill_points import KillPoint
from tests.chaos.money.play import Ending, Scene, perform
from tests.chaos.money.points import POINTS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_every_step_to_die_at_is_in_the_program(point: KillPoint) -> None:
    module, _, path = point.target.partition(":")
    place = importlib.import_module(module)
    for name in path.split("."):
        place = getattr(place, name)

    assert callable(place)


def assert_paid_once(ending: Ending, *, ordered: int) -> None:
    account = ending.account
    assert not account.breaches, "\n".join(account.breaches)
    assert account.jobs == account.images == account.created == ordered
    # It was not for lack of trouble.
    assert account.calls["api POST /v1/models/NAME/predictions"] > ordered
    assert account.calls["api GET /v1/predictions"] > 0
    assert account.whole.crashes > 0


def test_two_hundred_jobs_cost_two_hundred_predictions(tmp_path: Path) -> None:
    ending = perform(Scene(tmp_path / "stage", seed=1, jobs=180, twins=20, kills=8, freezes=6))

    assert_paid_once(ending, ordered=200)
    assert ending.counts["SIGKILL cloud"] + ending.counts["SIGKILL results"] == 8
    assert ending.counts["SIGSTOP cloud"] == 6


def test_rows_that_nobody_can_tell_apart_are_paid_for_once_each(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path / "stage", seed=2, jobs=0, twins=20, kills=3, freezes=2, bursts=1, threads=4
    )

    assert_paid_once(perform(scene), ordered=20)


def test_a_worker_that_dies_at_any_step_of_a_purchase_buys_once(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path / "stage",
        seed=3,
        jobs=30,
        twins=30,
        kills=0,
        freezes=0,
        bursts=0,
        points=POINTS,
        threads=3,
    )

    ending = perform(scene)

    assert_paid_once(ending, ordered=60)
    assert sorted(map(str, ending.died_at)) == sorted(map(str, POINTS))
