"""What a process decides from its configuration before any service is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagen.wiring.bootstrap import Imagen, open_imagen

HOSTED = {
    "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co",
    "SUPABASE_SERVICE_KEY": "sb_secret_x",
}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Callable[..., Imagen]]:
    """A process on a PostgreSQL ledger."""
    made: list[Imagen] = []

    def wire_(setting: str, env: dict[str, str], *, address: str = "me@127.0.0.1") -> Imagen:
        path = tmp_path / "imagen.yaml"
        path.write_text(f"database: {{in_supabase: {setting}}}\n")
        usual = {"HOME": str(tmp_path), "IMAGEN_DATABASE_URL": f"postgresql://{address}/db"}
        made.append(open_imagen(str(path), usual | env))
        return made[-1]

    yield wire_
    for each in made:
        each.close()


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
    imagen = wire(setting, HOSTED, address=address)

    assert imagen.is_ledger_in_project is is_in_project
    assert imagen.sends_usage is not is_in_project


def test_without_a_project_no_usage_is_sent_anywhere(wire: Any) -> None:
    assert not wire("auto", {}).sends_usage


def test_a_key_that_cannot_be_one_does_not_change_where_the_ledger_is(wire: Any) -> None:
    env = HOSTED | {"SUPABASE_SERVICE_KEY": "sb_publishable_x"}
    address = "postgres@db.abcdefghijklmnopqrst.supabase.co"

    assert wire("auto", env, address=address).is_ledger_in_project
