"""A path is refused before anything is drawn, by the rules of the process that will write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import Output
from imagen.errors import RequestError
from imagen.ledger.jobs.worker_rows import report_worker, sign_off_worker
from imagen.services.leases.process_lock import enter
from imagen.services.submit.delivery_folders import DeliveryFolders, delivery_folders, own_folders

HOST = "desk"


@pytest.fixture
def report(desk: Any, tmp_path: Path) -> Any:
    """A live worker's row; the owner's id is returned."""
    locks = []

    def report(*folders: Path, role: str = "results", host: str = HOST, number: int = 1) -> str:
        owner = f"{host}:{role}:{number}"
        locks.append(enter(tmp_path / "owners", owner))
        allowed = [str(folder) for folder in folders] if role == "results" else None
        report_worker(
            desk.ledger, owner, host=host, role=role, queues=[], backends=[], allowed_dirs=allowed
        )
        return owner

    yield report
    for lock in locks:
        lock.leave()


@pytest.fixture
def folders(desk: Any, tmp_path: Path) -> Any:
    def folders(own: list[Path] | None = None) -> DeliveryFolders:
        return delivery_folders(
            desk.ledger, host=HOST, own=own, within_s=30, lock_folder=tmp_path / "owners"
        )

    return folders


def output(folder: Path, name: str = "fox.{ext}") -> Output:
    return Output(str(folder), name)


def test_a_path_outside_the_folders_of_the_hosts_results_worker_is_refused(
    report: Any, folders: Any, tmp_path: Path
) -> None:
    report(tmp_path / "allowed")

    folders().require(output(tmp_path / "allowed" / "deep"))
    with pytest.raises(RequestError) as caught:
        folders().require(output(tmp_path / "elsewhere"))

    assert "the results worker of 'desk' refuses it" in caught.value.message
    assert str(tmp_path / "allowed") in caught.value.message
    assert "results.allowed_dirs" in caught.value.hint


def test_each_of_two_results_workers_must_allow_it_as_either_may_write_it(
    report: Any, folders: Any, tmp_path: Path
) -> None:
    report(tmp_path)
    report(tmp_path / "allowed", number=2)

    folders().require(output(tmp_path / "allowed"))
    with pytest.raises(RequestError):
        folders().require(output(tmp_path / "elsewhere"))


def test_the_workers_rule_goes_before_this_configurations(
    report: Any, folders: Any, tmp_path: Path
) -> None:
    report(tmp_path / "allowed")

    folders(own=[tmp_path / "mine"]).require(output(tmp_path / "allowed"))
    with pytest.raises(RequestError):
        folders(own=[tmp_path / "mine"]).require(output(tmp_path / "mine"))


def test_workers_of_other_hosts_and_roles_have_no_say(
    report: Any, folders: Any, tmp_path: Path
) -> None:
    report(tmp_path / "allowed", host="elsewhere")
    report(role="gpu")

    folders().require(output(tmp_path / "anywhere"))


def test_without_a_results_worker_this_configuration_decides(
    report: Any, desk: Any, folders: Any, tmp_path: Path
) -> None:
    sign_off_worker(desk.ledger, report(tmp_path / "allowed"))

    folders(own=[tmp_path / "mine"]).require(output(tmp_path / "mine"))
    with pytest.raises(RequestError) as caught:
        folders(own=[tmp_path / "mine"]).require(output(tmp_path / "allowed"))

    assert "results worker" not in caught.value.message


def test_a_name_that_leads_out_or_hides_is_refused_after_a_good_one(tmp_path: Path) -> None:
    folders = own_folders([tmp_path / "allowed"])
    folders.require(output(tmp_path / "allowed"))

    for name in ("../fox.{ext}", ".fox.{ext}", ".hidden/fox.{ext}"):
        with pytest.raises(RequestError):
            folders.require(output(tmp_path / "allowed", name))


def test_no_rule_means_any_path(tmp_path: Path) -> None:
    own_folders(None).require(output(tmp_path / ".anywhere"))
