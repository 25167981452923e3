"""Tables and what stands in their cells."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from imagen.cli.screen.text_tables import clip, short_ids, table, width_of


@given(st.sets(st.uuids(), min_size=1, max_size=30))
def test_short_ids_tell_jobs_apart_and_begin_like_them(ids: set[UUID]):
    shorts = short_ids(ids)

    assert len(set(shorts.values())) == len(ids)
    assert all(str(each).startswith(short) for each, short in shorts.items())
    assert all(len(short) >= 13 and not short.endswith("-") for short in shorts.values())


def test_jobs_of_one_millisecond_get_longer_ids():
    twins = [UUID(f"01a1f858-75d1-75aa-a12f-d8581b1abce{n}") for n in (1, 2)]

    assert {len(short) for short in short_ids(twins).values()} == {36}


def test_wide_characters_take_two_columns():
    assert width_of("日本") == 4
    assert width_of("\033[31mred\033[0m") == 3
    assert clip("日本語", 5) == "日本…"


def test_a_table_aligns_its_columns_and_ends_without_blanks():
    assert table(("A", "B"), [("日本", ""), ("x", "yy")]) == ["A     B", "日本", "x     yy"]
