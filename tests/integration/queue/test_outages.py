"""A ComfyUI that is away costs time and no job; the long forms are in tests/accept."""

from __future__ import annotations

import pytest

from tests.chaos.outages import (
    Outage,
    both_hosts_away,
    go_away_amid_jobs,
    one_host_away,
)

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("server_later", [False, True], ids=["amid the jobs", "at the start"])
def test_a_server_that_is_away_fails_no_job_and_wastes_few_tries(tmp_path, server_later):
    outage = Outage(tmp_path / "run", jobs=60, scale=20, server_later=server_later)

    cost = go_away_amid_jobs(outage)

    assert cost.failed == 0
    assert max(cost.put_back) <= outage.concurrency + 3
    # One that was announced at the very moment when the server went away is an attempt of its own.
    assert cost.attempts - outage.jobs <= outage.concurrency


def test_of_two_hosts_the_one_without_its_server_takes_no_job_from_the_other(tmp_path):
    outage = Outage(tmp_path / "run", jobs=40, scale=5)

    shares = one_host_away(outage)

    assert shares.failed == 0
    assert shares.put_back <= outage.concurrency + 3


def test_where_no_host_can_draw_no_wakeups_are_consumed_or_sent(tmp_path):
    outage = Outage(tmp_path / "run", jobs=100, scale=5)

    idle, away = both_hosts_away(outage, watch_s=3.0)

    # An idle queue is asked once a second; a chase for wake-ups is hundreds of commands a second.
    assert away.redis_commands <= idle.redis_commands + 20
