"""Rows over REST: none twice, none lost, none skipped by the server's silent cut."""

from __future__ import annotations

import json
import math
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from imagen.cloud.rest import encode_row
from imagen.errors import CloudError
from tests.fakes.supabase import SupabaseFault

START = datetime(2026, 1, 1, tzinfo=UTC)


def usage(number: int, **more) -> dict:
    return {
        "attempt_id": UUID(int=number),
        "created_at": START + timedelta(minutes=number // 3),
        "backend": "mock",
        "cost_usd_estimate": Decimal("0.003"),
        "caller": "tester",
        **more,
    }


def image(number: int, **more) -> dict:
    return {
        "id": UUID(int=number),
        "job_id": UUID(int=1000 + number),
        "owner_user_id": UUID(int=7),
        "storage_path": f"owner/{number}.png",
        "prompt": "a fox",
        "backend": "mock",
        "sidecar": {"seed": 1},
        "tags": [],
        **more,
    }


def put_usage(rest, rows, *, merge=False) -> None:
    for row in rows:
        rest.insert("mai", "imagen_usage", row, on_conflict="attempt_id", merge=merge)


def put_images(rest, rows, *, merge=True) -> None:
    for row in rows:
        rest.insert("imagen", "images", row, on_conflict="id", merge=merge)


def read_usage(rest, *filters, order=("created_at", "attempt_id"), **options) -> list[dict]:
    pages = rest.select_pages(
        "mai", "imagen_usage", ["attempt_id"], filters, order=order, **options
    )
    return list(pages)


def test_rows_arrive_in_their_own_schema(fake, rest):
    put_usage(rest, [usage(1)])
    put_images(rest, [image(1)])

    [spent], [drawn] = fake.rows("mai", "imagen_usage"), fake.rows("imagen", "images")
    assert spent["cost_usd_estimate"] == Decimal("0.003")
    assert spent["created_at"] == START
    assert (drawn["prompt"], drawn["sidecar"], drawn["tags"]) == ("a fox", {"seed": 1}, [])


def test_both_profile_headers_go_with_every_call(fake, rest):
    put_usage(rest, [usage(1)])
    read_usage(rest)

    assert {call.headers["accept-profile"] for call in fake.calls} == {"mai"}
    assert {call.headers["content-profile"] for call in fake.calls} == {"mai"}


def test_a_row_that_is_there_already_is_left_as_it_is_without_merging(fake, rest):
    put_usage(rest, [usage(1)])
    put_usage(rest, [usage(1, caller="somebody else"), usage(2)])

    assert [row["caller"] for row in fake.rows("mai", "imagen_usage")] == ["tester", "tester"]


def test_a_row_that_is_there_already_is_overwritten_with_merging(fake, rest):
    put_images(rest, [image(1)])
    put_images(rest, [image(1, prompt="a hen"), image(2)])

    assert [row["prompt"] for row in fake.rows("imagen", "images")] == ["a hen", "a fox"]


@pytest.mark.parametrize(
    "fault",
    [
        SupabaseFault.CUT_AFTER,
        SupabaseFault.CUT_BEFORE,
        SupabaseFault.CUT_MID_BODY,
        SupabaseFault.TORN_ANSWER,
    ],
)
def test_one_cut_is_made_good_at_once_without_a_second_row(fake, rest, fault):
    fake.inject(fault)

    put_usage(rest, [usage(1)])
    put_images(rest, [image(1)])

    assert len(fake.rows("mai", "imagen_usage")) == 1
    assert len(fake.rows("imagen", "images")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        SupabaseFault.CUT_AFTER,
        SupabaseFault.TORN_ANSWER,
        SupabaseFault.ERROR_AFTER,
        SupabaseFault.SLOW,
    ],
)
def test_an_insert_whose_answer_was_lost_may_be_repeated(fake, new_rest, fault):
    rest = new_rest(read_timeout_s=0.3)
    fake.inject(fault, times=None)
    with pytest.raises(CloudError) as caught:
        put_usage(rest, [usage(1)])
    fake.heal()

    put_usage(rest, [usage(1)])

    assert caught.value.retryable
    assert len(fake.rows("mai", "imagen_usage")) == 1


def test_a_nul_in_a_prompt_does_not_keep_the_row_out(fake, rest):
    put_images(rest, [image(1, prompt="a\x00 fox\ud83e", sidecar={"a": ["\x00", math.inf]})])

    [row] = fake.rows("imagen", "images")
    assert (row["prompt"], row["sidecar"]) == ("a fox", {"a": ["", None]})


@pytest.mark.parametrize("page", [1000, 300])
@pytest.mark.parametrize("max_rows", [1000, 250])
def test_no_row_is_lost_to_the_servers_limit(fake, rest, page, max_rows):
    put_usage(rest, [usage(number) for number in range(1, 2501)])
    fake.world.max_rows = max_rows

    found = read_usage(rest, page=page)

    assert [UUID(row["attempt_id"]).int for row in found] == list(range(1, 2501))


def test_a_single_column_will_do_for_the_order(fake, rest):
    put_usage(rest, [usage(number) for number in range(1, 26)])

    assert len(read_usage(rest, order=["id"], page=10)) == 25


def test_rows_come_without_columns_that_only_order_them(fake, rest):
    put_usage(rest, [usage(1)])

    assert read_usage(rest) == [{"attempt_id": str(UUID(int=1))}]


def test_filters_narrow_what_is_read(fake, rest):
    put_usage(rest, [usage(number) for number in range(1, 31)])
    since, until = START + timedelta(minutes=2), START + timedelta(minutes=5)

    found = read_usage(rest, ("created_at", "gte", since), ("created_at", "lt", until), page=2)

    assert [UUID(row["attempt_id"]).int for row in found] == list(range(6, 15))


def test_text_in_the_order_may_hold_anything(fake, rest):
    callers = ["a,b", 'a"b', "a)b", "a\\b", "a.b", "ä+b", ""]
    put_usage(rest, [usage(n, caller=caller) for n, caller in enumerate(callers, 1)])

    found = read_usage(rest, order=["caller", "attempt_id"], page=1)

    assert len(found) == len(callers)


def test_a_row_written_meanwhile_pushes_no_other_out(fake, rest):
    put_usage(rest, [usage(number) for number in range(2, 12)])
    pages = rest.select_pages(
        "mai", "imagen_usage", ["attempt_id"], order=["created_at", "attempt_id"], page=3
    )

    first = [next(pages) for _ in range(3)]
    put_usage(rest, [usage(1)])
    rest_of_them = list(pages)

    assert [UUID(row["attempt_id"]).int for row in first + rest_of_them] == list(range(2, 12))


def test_sums_of_money_come_exact(fake, rest):
    put_usage(rest, [usage(1), usage(2, cost_usd_estimate=None)])

    rows = rest.select_pages("mai", "imagen_usage", ["cost_usd_estimate"], order=["id"])

    assert [row["cost_usd_estimate"] for row in rows] == [Decimal("0.003"), None]


def test_reading_keeps_one_page_in_memory(fake, rest):
    put_images(rest, [image(n, sidecar={"text": "x" * 2000}) for n in range(1, 1501)])
    tracemalloc.start()

    count = sum(
        1 for _ in rest.select_pages("imagen", "images", ["sidecar"], order=["id"], page=50)
    )
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 1500
    # All of them are over 3 MB, several times over while they are parsed.
    assert peak_bytes < 3_000_000


def test_an_up_to_date_table_lacks_nothing(fake, rest):
    assert rest.missing_columns("mai", "imagen_usage", ["id", "attempt_id"]) == ()
    assert fake.count_calls("GET", "/imagen_usage") == 1


def test_an_older_tables_missing_columns_are_found(fake, rest):
    table = fake.world.tables["mai", "imagen_usage"]
    table.drop_column("attempt_id")
    table.drop_column("latency_ms")

    missing = rest.missing_columns("mai", "imagen_usage", ["id", "latency_ms", "attempt_id"])

    assert missing == ("latency_ms", "attempt_id")


def test_a_row_that_names_a_new_image_twice_is_told_apart_from_the_same_image(fake, rest):
    put_images(rest, [image(1)])

    with pytest.raises(CloudError, match="must be unique") as caught:
        put_images(rest, [image(2, job_id=image(1)["job_id"])])

    assert caught.value.only_this
    assert len(fake.rows("imagen", "images")) == 1


def test_the_program_says_who_it_is_and_not_that_it_is_a_browser(fake, rest):
    put_usage(rest, [usage(1, attempt_id=uuid4())])

    assert fake.calls[0].headers["user-agent"].startswith("imagen/")


def test_what_no_database_stores_is_left_out():
    row = {
        "prompt": "a\x00b\ud800c",
        "sidecar": {"k\x00": ["\x00", math.nan]},
        "cost": Decimal("NaN"),
    }

    assert json.loads(encode_row(row)) == [
        {"prompt": "abc", "sidecar": {"k": ["", None]}, "cost": None}
    ]


def test_the_ledgers_values_become_json():
    row = {
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "id": UUID(int=1),
        "cost": Decimal("0.003000"),
        "seed": 2**63 - 1,
        "tags": (),
        "steps": None,
    }

    assert json.loads(encode_row(row)) == [
        {
            "at": "2026-01-02T03:04:05+00:00",
            "id": "00000000-0000-0000-0000-000000000001",
            "cost": 0.003,
            "seed": 2**63 - 1,
            "tags": [],
            "steps": None,
        }
    ]
