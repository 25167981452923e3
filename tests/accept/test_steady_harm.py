"""Three hundred jobs while a worker is killed every 2 s, while jobs kill workers, amid garbage."""

from __future__ import annotations

import pytest

from tests.chaos.recovery import percentile
from tests.chaos.steady_faults import Harm, draw_under_harm


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_kill_every_two_seconds_fails_no_healthy_job(tmp_path, database):
    harmed = draw_under_harm(Harm(database=database), folder=tmp_path, say=print)

    seconds = [each.seconds for each in harmed.recovered]
    print(
        f"held again: p50 {percentile(seconds, 0.5):.2f} s, p95 {percentile(seconds, 0.95):.2f} s"
    )
    assert harmed.audit.breaches == []
    assert harmed.crashed == 0
    assert len(seconds) > 50


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_jobs_that_kill_their_workers_end_and_take_no_other_with_them(tmp_path, database):
    harm = Harm(jobs=60, job_s=0.5, kill_every_s=0, poison=2, database=database)

    harmed = draw_under_harm(harm, folder=tmp_path, say=print)

    assert harmed.crashed == 0
    assert harmed.poison_states == {"failed worker_crashed": 2}
    assert all(5 <= crashes <= 10 for crashes in harmed.poison_crashes)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_garbage_in_the_queues_ends_no_worker(tmp_path, database):
    harm = Harm(job_s=0.2, kill_every_s=0, garbage_every_s=0.05, database=database)

    harmed = draw_under_harm(harm, folder=tmp_path, say=print)

    assert harmed.audit.breaches == []
    assert harmed.kills["deaths"] == 0
