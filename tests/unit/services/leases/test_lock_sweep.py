"""A host whose workers only draw does not keep the lock files of its dead for ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imagen.services.leases import process_lock
from imagen.services.leases.lock_sweep import LockSweep


def dies(folder: Path, owner: str) -> Path:
    left = process_lock.enter(folder, owner)
    os.close(left.handle)
    return left.path


def test_the_files_of_the_dead_go_after_ten_minutes(studio: Any, tmp_path: Path) -> None:
    folder = tmp_path / "owners"
    dead = dies(folder, "dead")
    alive = process_lock.enter(folder, "alive")
    sweep = LockSweep(studio.desk.ledger, folder, studio.clock)

    sweep.run()
    studio.clock.sleep(540)
    later = dies(folder, "later")
    sweep.run()
    assert dead.exists()
    studio.clock.sleep(61)
    sweep.run()

    assert [dead.exists(), later.exists(), alive.path.exists()] == [False, True, True]
    alive.leave()


def test_the_file_of_the_dead_stays_while_they_hold_a_job(studio: Any, tmp_path: Path) -> None:
    studio.desk.submit()
    studio.desk.must_claim("dead")
    dead = dies(tmp_path, "dead")
    sweep = LockSweep(studio.desk.ledger, tmp_path, studio.clock)

    for _ in range(20):
        sweep.run()
        studio.clock.sleep(61)

    assert process_lock.dead_among(tmp_path, ["dead"]) == {"dead"}
    assert dead.exists()


def test_a_missing_folder_is_no_error(studio: Any, tmp_path: Path) -> None:
    LockSweep(studio.desk.ledger, tmp_path / "missing", studio.clock).run()
