"""Outages of ComfyUI as they happen: for a minute, for ten, from the start, on one host of two."""

from __future__ import annotations

import pytest

from tests.chaos.outages import (
    Outage,
    OutageCost,
    both_hosts_away,
    go_away_amid_jobs,
    one_host_away,
)

#: From a wake-up to the image, on a machine that is busy with other things.
ONE_DRAWING_S = 2.0

DATABASES = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


def _assert_cheap(cost: OutageCost, outage: Outage) -> None:
    assert cost.failed == 0
    assert max(cost.put_back) <= outage.concurrency + 3
    # One that was announced at the very moment when the server went away is an attempt of its own.
    assert cost.attempts - outage.jobs <= outage.concurrency
    assert cost.first_image_s <= 10 / outage.scale + ONE_DRAWING_S


@DATABASES
def test_a_server_that_is_away_for_a_minute_amid_500_jobs_costs_a_minute(tmp_path, database):
    outage = Outage(tmp_path / "run", away_s=60, database=database)

    _assert_cheap(go_away_amid_jobs(outage), outage)


@DATABASES
def test_a_server_that_is_away_for_ten_minutes_amid_500_jobs_fails_none(tmp_path, database):
    # Every wait of the product, and the outage, a tenth as long.
    outage = Outage(tmp_path / "run", away_s=600, scale=10, database=database)

    _assert_cheap(go_away_amid_jobs(outage), outage)


def test_a_server_that_starts_a_minute_after_its_worker_draws_all_500(tmp_path):
    outage = Outage(tmp_path / "run", away_s=60, server_later=True)

    _assert_cheap(go_away_amid_jobs(outage), outage)


def test_a_healthy_host_draws_as_much_beside_one_whose_server_is_away(tmp_path):
    outage = Outage(tmp_path / "run", jobs=300, draw_s=0.2, database="postgresql")

    shares = one_host_away(outage)

    assert shares.failed == 0
    assert shares.beside >= 0.9 * shares.alone


def test_two_hosts_that_cannot_draw_are_as_quiet_as_idle_ones(tmp_path):
    outage = Outage(tmp_path / "run", database="postgresql")

    idle, away = both_hosts_away(outage, watch_s=20.0)

    assert away.redis_commands <= 1.2 * idle.redis_commands
    assert away.statements <= 1.2 * idle.statements
