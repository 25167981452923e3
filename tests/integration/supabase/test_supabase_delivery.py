"""From a drawn image to one file, one sidecar, one usage row, one object and one images row."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from imagen.domain.prompt import hash_prompt
from imagen.ledger.store.outgoing_tables import imagen_usage, outbox
from imagen.ledger.store.tables import jobs
from tests.fakes.supabase import FakeSupabase, SupabaseFault

OWNER = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


def test_a_missing_bucket_is_made_and_is_private(office: Any, fake: FakeSupabase) -> None:
    office.draw()
    office.deliver()

    office.send()

    assert fake.world.buckets["imagen-generated"].public is False


def test_a_public_bucket_gets_no_image(office: Any, fake: FakeSupabase) -> None:
    fake.add_bucket(public=True)
    office.draw()
    office.deliver()

    report = office.send()

    assert "is public" in report.reasons["cloud"]
    assert fake.objects() == {}
    assert fake.rows("imagen", "images") == []
    assert office.usage_rows() == 1


def test_the_rows_hold_what_was_drawn(office: Any, fake: FakeSupabase) -> None:
    job_id = office.draw("größe: 猫 & кот", details={"guidance": 3.5})
    office.deliver()

    office.send()

    [usage] = fake.rows("mai", "imagen_usage")
    assert usage["prompt_hash"] == hash_prompt("größe: 猫 & кот")
    assert (usage["backend"], usage["model"], usage["seed"]) == ("paid", "flux", 7)
    assert (usage["latency_ms"], usage["caller"]) == (1234, "tests")
    assert usage["cost_usd_estimate"] == Decimal("0.003")
    [row] = fake.rows("imagen", "images")
    assert row["id"] == row["job_id"] == str(job_id)
    assert row["owner_user_id"] == OWNER
    assert row["prompt"] == "größe: 猫 & кот"
    assert (row["steps"], row["width"], row["height"], row["tags"]) == (4, 64, 64, [])
    sidecar = json.loads((office.folder / "fox.png.json").read_text())
    assert json.loads(json.dumps(row["sidecar"], default=float)) == sidecar
    assert sidecar["details"] == {"guidance": 3.5}
    [key] = fake.objects()
    assert row["storage_path"] == key
    assert key.startswith(f"{OWNER}/{job_id}-")
    assert key.isascii()


def test_no_prompt_is_ever_in_the_usage_table(office: Any, fake: FakeSupabase) -> None:
    office.draw("my secret wish")
    office.deliver()
    office.send()

    usage_calls = [call for call in fake.calls if "imagen_usage" in call.path]
    assert usage_calls
    for call in usage_calls:
        assert b"secret wish" not in call.body
    assert "secret wish" not in str(fake.rows("mai", "imagen_usage"))
    with office.ledger.read() as connection:
        assert "secret wish" not in str(connection.execute(select(imagen_usage)).all())


def test_a_nul_and_half_a_character_in_what_a_backend_says_do_not_stop_the_row(
    office: Any, fake: FakeSupabase
) -> None:
    office.draw(details={"note": "a\x00b"})
    office.deliver()

    office.send()

    [row] = fake.rows("imagen", "images")
    assert row["sidecar"]["details"]["note"] == "ab"


def test_without_a_sidecar_the_row_has_it_all_the_same(office: Any, fake: FakeSupabase) -> None:
    job_id = office.draw()
    with office.ledger.write() as connection:
        output = {"folder": str(office.folder), "name": "fox.{ext}", "sidecar": False}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(output=output))
    office.deliver()

    office.send()

    assert office.files() == ["fox.png"]
    [row] = fake.rows("imagen", "images")
    assert row["sidecar"]["job_id"] == str(job_id)
    assert row["sidecar"]["file"] == "fox.png"


@pytest.mark.parametrize(
    ("changes", "copies"),
    [
        ({"owner_user_id": ""}, 0),
        ({"sync": "off"}, 0),
        ({"sync": "on"}, 1),
    ],
)
def test_who_has_no_owner_or_wants_no_cloud_gets_usage_alone(
    office: Any, fake: FakeSupabase, changes: dict[str, str], copies: int
) -> None:
    office.draw(**changes)
    office.deliver()

    office.send()

    assert len(fake.objects()) == len(fake.rows("imagen", "images")) == copies
    assert office.usage_rows() == 1
    assert office.waiting() == []


def test_cloud_sync_on_without_an_owner_is_told_on_the_job(office: Any) -> None:
    office.draw(owner_user_id="", sync="on")
    office.deliver()

    office.send()

    [waiting] = office.waiting()
    assert waiting.sink == "cloud"
    assert "owner_user_id" in waiting.why


def test_one_refused_row_does_not_keep_the_others(office: Any, fake: FakeSupabase) -> None:
    office.draw(details={"workflow": "x" * 20_000})
    office.draw("a small one")
    office.deliver()
    fake.world.max_body_bytes = 10_000

    report = office.send()

    assert (report.sent, report.failed) == (3, 1)
    assert len(fake.rows("imagen", "images")) == 1


def test_a_slow_answer_is_waited_for_once(office: Any, fake: FakeSupabase) -> None:
    fake.world.slow_s = 0.2
    fake.inject(SupabaseFault.SLOW, times=None)
    office.patience_s = 0.1
    office.draw()
    office.deliver()

    report = office.send()

    assert (report.sent, report.failed) == (0, 2)
    fake.heal()
    office.patience_s = 5.0
    office.send()
    assert office.has_one_of_each()


def test_the_copy_goes_out_from_the_kept_bytes_although_the_file_is_gone(
    office: Any, fake: FakeSupabase
) -> None:
    job_id = office.draw()
    office.deliver()
    (office.folder / "fox.png").unlink()

    office.send()

    [stored] = fake.objects().values()
    assert hashlib.sha256(stored.data).hexdigest() == office.job(job_id).file_sha256


def test_what_was_sent_twice_is_there_once(office: Any, fake: FakeSupabase) -> None:
    office.draw()
    office.deliver()
    office.send()
    with office.ledger.write() as connection:
        connection.execute(update(outbox).values(done_at=None))

    report = office.send("two")

    assert report.sent == 2
    assert office.has_one_of_each()
