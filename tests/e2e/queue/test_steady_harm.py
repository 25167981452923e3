"""Harm that goes on while jobs are drawn; `make accept` and `make chaos` have the long forms."""

from __future__ import annotations

import pytest

from tests.chaos.steady_faults import Harm, draw_under_harm

pytestmark = pytest.mark.e2e


def quiet(_text: str) -> None:
    pass


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_workers_that_are_killed_again_and_again_fail_no_job(tmp_path, database):
    harm = Harm(jobs=40, job_s=1.0, kill_every_s=1.0, garbage_every_s=0.3, database=database)

    harmed = draw_under_harm(harm, folder=tmp_path, say=quiet)

    assert harmed.audit.breaches == []
    assert harmed.audit.images == 40
    assert harmed.crashed == 0
    assert harmed.kills["SIGKILL"] > 0
    assert harmed.kills["garbage"] > 0
