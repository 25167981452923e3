"""What follows from a process's configuration before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HOSTED = {
    "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co",
    "SUPABASE_SERVICE_KEY": "sb_secret_x",
}


@pytest.fixture
def wire(make_process: Any) -> Any:
    """A function that makes a process on a PostgreSQL ledger."""

    def wire_(setting: str, env: dict[str, str], *, address: str = "me@127.0.0.1") -> Any:
        where = {"IMAGEN_DATABASE_URL": f"postgresql://{address}/db"}
        return make_process({"database": {"in_supabase": setting}}, **where, **env)

    return wire_


@pytest.mark.parametrize(
    ("setting", "address", "is_in_project"),
    [
        ("auto", "me@127.0.0.1", False),
        ("auto", "postgres@db.abcdefghijklmnopqrst.supabase.co", True),
        ("auto", "postgres.abcdefghijklmnopqrst@pooler.example.com:6543", True),
        ("off", "postgres@db.abcdefghijklmnopqrst.supabase.co", False),
        ("on", "me@127.0.0.1", True),
    ],
)
def test_a_ledger_is_the_projects_database_by_its_address_or_by_the_setting(
    wire: Any, setting: str, address: str, is_in_project: bool
) -> None:
    process = wire(setting, HOSTED, address=address)

    assert process.is_ledger_in_project is is_in_project
    assert process.sends_usage is not is_in_project


def test_without_a_project_no_usage_is_sent_anywhere(wire: Any) -> None:
    assert not wire("auto", {}).sends_usage


def test_a_key_that_cannot_be_one_does_not_change_where_the_ledger_is(wire: Any) -> None:
    env = HOSTED | {"SUPABASE_SERVICE_KEY": "sb_publishable_x"}
    address = "postgres@db.abcdefghijklmnopqrst.supabase.co"

    assert wire("auto", env, address=address).is_ledger_in_project


def test_each_process_has_an_owner_id_of_its_own(make_process: Any) -> None:
    first, second = make_process(), make_process()

    assert first.owner != second.owner
    assert first.holder.claimant(["gpu"]).owner == first.owner


def test_a_queue_of_its_own_name_has_two_threads(make_process: Any) -> None:
    backends = {"mock": {"type": "mock", "queue": "studio"}}

    threads = make_process({"backends": backends}).threads_by_queue

    assert threads["studio"] == 2
    assert set(threads) == {"gpu", "cloud", "studio"}


def test_a_worker_writes_at_home_only_unless_folders_are_configured(make_process: Any) -> None:
    assert make_process().own_allowed_dirs is None
    assert Path.home() in make_process().worker_allowed_dirs

    named = make_process({"results": {"allowed_dirs": ["/pictures"]}})

    assert named.own_allowed_dirs == named.worker_allowed_dirs == [Path("/pictures")]
