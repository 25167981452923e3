"""``imagen usage``: tables for people, rows and objects for programs, from wherever they are."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imagen.cli.money.usage import parse_day
from imagen.cli.screen.streams import OutputClosed
from tests.fakes.supabase import FakeSupabase, SupabaseFault

FOX = ("generate", "a red fox", "--backend", "paid", "--size", "64x64")


@pytest.fixture(autouse=True)
def paid(configure: Any) -> None:
    configure("backends:\n  paid: {type: mock, cost_usd: 0.003}\n")


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as running:
        yield running


@pytest.fixture
def known(made_ledger: Path) -> None:
    """Five images of two weeks, two of unknown price, one without a model."""
    rows = [
        ("2026-11-09 10:00", "flux", "dev", 900, "0.025", "kim"),
        ("2026-11-16 10:00", "flux", "schnell", 100, "0.003", "kim"),
        ("2026-11-17 10:00", "flux", "schnell", 300, None, "kim"),
        ("2026-11-18 10:00", "flux", "schnell", 200, "0.003", "kim"),
        ("2026-11-18 23:59", "other", None, None, None, "lee"),
    ]
    connection = sqlite3.connect(made_ledger)
    with connection:
        connection.executemany(
            "INSERT INTO imagen_usage (created_at, backend, model, latency_ms,"
            " cost_usd_estimate, caller, prompt_hash) VALUES (? || ':00.000000',?,?,?,?,?,'h')",
            rows,
        )
    connection.close()


@pytest.mark.usefixtures("known")
def test_sums_are_aligned_and_unknown_prices_stand_beside_them(imagen: Any) -> None:
    done = imagen("usage")

    assert done.code == 0
    assert done.out.splitlines() == [
        "WEEK      BACKEND  MODEL    CALLER  IMAGES     COST  UNPRICED  MEDIAN",
        "2026-W46  flux     dev      kim          1   $0.025            900 ms",
        "2026-W47  flux     schnell  kim          3   $0.006         1  200 ms",
        "2026-W47  other    unknown  lee          1  unknown         1",
        "total                                    5   $0.031         2  200 ms",
    ]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--since", "2026-11-16"), 4),
        (("--until", "2026-11-16"), 2),
        (("--since", "2026-11-17", "--until", "2026-11-18"), 3),
        (("--until", "2026-11-16T10:00"), 1),
        (("--since", "2026-11-18T23:00+00:00"), 1),
        (("--since", "2026-11-19T01:00+02:00"), 1),
        (("--since", "2030-01-01"), 0),
    ],
)
def test_days_are_days_of_utc_and_the_last_one_counts(
    imagen: Any, words: tuple[str, ...], count: int
) -> None:
    assert imagen("usage", *words, "--json").json["total"]["count"] == count


@pytest.mark.parametrize("word", ["yesterday", "2026-13-01", "20261120", "d", "7x"])
def test_what_is_no_day_is_refused(imagen: Any, word: str) -> None:
    done = imagen("usage", "--since", word)

    assert done.code == 2
    assert "is no date" in done.err


def test_so_long_ago_is_a_day_too() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)

    assert parse_day("7d", now=now) == now - timedelta(days=7)


@pytest.mark.usefixtures("known")
def test_groups_are_chosen(imagen: Any) -> None:
    done = imagen("usage", "--by", "caller,backend", "--json")

    assert done.json["by"] == ["backend", "caller"]
    assert [(g["backend"], g["caller"], g["count"]) for g in done.json["groups"]] == [
        ("flux", "kim", 4),
        ("other", "lee", 1),
    ]
    assert imagen("usage", "--by", "day").code == 2


@pytest.mark.usefixtures("known")
def test_without_groups_there_is_the_total(imagen: Any) -> None:
    assert imagen("usage", "--by", "").out.splitlines()[1].startswith("total")
    assert imagen("usage", "--by", "", "--csv").out.splitlines()[1] == "5,0.031000,2,200"


@pytest.mark.usefixtures("known")
def test_json_says_null_where_no_price_is_known(imagen: Any) -> None:
    groups = imagen("usage", "--json").json["groups"]

    assert groups[-1]["cost_usd"] is None
    assert groups[-1]["unpriced"] == groups[-1]["count"] == 1
    assert groups[0]["cost_usd"] == 0.025


@pytest.mark.usefixtures("known")
def test_csv_has_a_header_and_the_groups(imagen: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(imagen("usage", "--csv").out)))

    assert [row["count"] for row in rows] == ["1", "3", "1"]
    assert rows[-1]["cost_usd"] == ""


def test_json_and_csv_exclude_each_other(imagen: Any) -> None:
    assert imagen("usage", "--json", "--csv").code == 2


@pytest.mark.usefixtures("known")
def test_rows_come_as_they_are(imagen: Any) -> None:
    header, *lines = imagen("usage", "--raw").out.splitlines()
    rows = imagen("usage", "--raw", "--json").json["rows"]
    table = list(csv.DictReader(io.StringIO(imagen("usage", "--raw", "--csv").out)))

    assert len(lines) == len(rows) == len(table) == 5
    assert header.split("\t") == list(rows[0]) == list(table[0])
    assert rows[0]["created_at"] == "2026-11-09T10:00:00+00:00"
    assert rows[-1]["cost_usd"] is None
    assert "unknown" in lines[-1]
    assert table[-1]["cost_usd"] == ""


def test_no_usage_is_said(imagen: Any) -> None:
    done = imagen("usage")

    assert (done.code, done.out) == (0, "")
    assert "no usage" in done.err
    assert imagen("usage", "--raw", "--json").json == {"rows": [], "error": None}


def test_a_name_that_would_paint_the_terminal_is_shown_as_it_is(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagen(*FOX, env={"MAI_FROM_ID": "kim\x1b[31m\tx"})

    assert "\x1b" not in imagen("usage").out
    [_, line] = imagen("usage", "--raw").out.splitlines()
    assert "\x1b" not in line
    assert line.count("\t") == 8


def test_mock_images_do_not_count(imagen: Any, draw: Any) -> None:
    draw("a red fox")
    imagen(*FOX, env={"MAI_FROM_ID": "agent-7"})

    [group] = imagen("usage", "--json").json["groups"]
    assert (group["backend"], group["caller"], group["count"]) == ("paid", "agent-7", 1)
    assert group["cost_usd"] == 0.003


def test_the_projects_rows_and_those_on_their_way_are_summed(
    imagen: Any, fake: FakeSupabase
) -> None:
    imagen(*FOX, env=fake.env)
    fake.go_down()
    imagen(*FOX, env=fake.env)
    fake.come_back()

    done = imagen("usage", "--json", env=fake.env)

    assert done.json["total"]["count"] == 2
    assert "1 image of these still to send to Supabase; see: imagen sync" in done.err
    assert imagen("usage", "--local", "--json", env=fake.env).json["total"]["count"] == 2


def test_the_projects_rows_of_others_are_shown_too(imagen: Any, fake: FakeSupabase) -> None:
    fake.world.max_rows = 5
    rows = [
        {"backend": "flux", "prompt_hash": "h", "caller": "lee", "cost_usd_estimate": 0.1}
        for _ in range(12)
    ]
    fake.world.tables["mai", "imagen_usage"].insert(rows, on_conflict=("id",), merge=None)

    total = imagen("usage", "--json", env=fake.env).json["total"]

    assert total == {"count": 12, "cost_usd": 1.2, "unpriced": 0, "median_latency_ms": None}
    assert imagen("usage", "--local", "--json", env=fake.env).json["total"]["count"] == 0


def test_a_project_that_is_away_is_told_with_a_way_out(imagen: Any, fake: FakeSupabase) -> None:
    fake.go_down()

    done = imagen("usage", env=fake.env)

    assert done.code == 5
    assert "did not answer" in done.err
    assert "imagen usage --local" in done.err


def test_rows_that_break_off_are_told_in_the_object_too(imagen: Any, fake: FakeSupabase) -> None:
    fake.world.max_rows = 3
    rows = [{"backend": "flux", "prompt_hash": "h", "caller": "lee"} for _ in range(9)]
    fake.world.tables["mai", "imagen_usage"].insert(rows, on_conflict=("id",), merge=None)
    fake.inject(SupabaseFault.DATABASE_DOWN, times=None)

    done = imagen("usage", "--raw", "--json", env=fake.env)

    assert done.code == 5
    assert json.loads(done.out)["error"]["code"] == "cloud"


def test_the_database_of_the_project_sums_by_itself(
    imagen: Any, configure: Any, postgres_url: str, fake: FakeSupabase
) -> None:
    configure("backends:\n  paid: {type: mock, cost_usd: 0.003}\ndatabase: {in_supabase: on}\n")
    env = {"IMAGEN_DATABASE_URL": postgres_url}
    imagen("db", "upgrade", env=env)
    imagen(*FOX, env=env)
    imagen(*FOX, env=env)

    done = imagen("usage", env={**env, **fake.env})

    assert "$0.006" in done.out
    assert fake.calls == []
    assert len(imagen("usage", "--raw", env=env).out.splitlines()) == 3


def test_a_reader_that_has_heard_enough_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    from imagen.cli.money.usage_output import answer_tabs
    from imagen.cli.screen.screen import Screen
    from imagen.cli.shell import Shell

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    shell = Shell({}, Screen(Closed(), io.StringIO(), {}))

    with pytest.raises(OutputClosed):
        answer_tabs(shell, iter(()))
