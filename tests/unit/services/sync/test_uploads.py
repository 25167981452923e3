"""Where items go: which tables, which keys, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from imagen.cloud.rest import RestClient
from imagen.cloud.settings import read_settings
from imagen.cloud.storage import Storage
from imagen.errors import CloudError
from imagen.services.sync.image_upload import ImageUploads, image_rows_over
from imagen.services.sync.usage_upload import RemoteUsageTable
from tests.fakes.supabase import FakeSupabase

OWNER = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
OTHER = "aaaaaaaa-0000-4000-8000-000000000001"


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as running:
        yield running


@pytest.fixture
def rest(fake: FakeSupabase) -> Iterator[RestClient]:
    settings = read_settings(fake.env)
    assert settings is not None
    client = RestClient(settings)
    yield client
    client.close()


@pytest.fixture
def storage(fake: FakeSupabase) -> Iterator[Storage]:
    settings = read_settings(fake.env)
    assert settings is not None
    client = Storage(settings)
    yield client
    client.close()


@pytest.fixture
def outgoing(sqlite_studio: Any) -> Any:
    """A item of a delivered job."""

    def make(**changes: Any) -> Any:
        job_id = sqlite_studio.desk.generated(**{"owner_user_id": OWNER, **changes})
        sqlite_studio.deliver()
        [attempt] = sqlite_studio.desk.attempts(job_id)
        return SimpleNamespace(job=sqlite_studio.desk.job(job_id), attempt=attempt)

    return make


def insert(fake: FakeSupabase, number: int, **changes: Any) -> None:
    """Usage rows, a minute apart, as older programs or we wrote them."""
    began = datetime(2026, 11, 16, tzinfo=UTC)
    rows = [
        {
            "created_at": (began + timedelta(minutes=each)).isoformat(),
            "backend": "flux",
            "prompt_hash": "h",
            "cost_usd_estimate": 0.25,
            "caller": "kim",
            "attempt_id": str(uuid4()),
            **changes,
        }
        for each in range(number)
    ]
    table = fake.world.tables["mai", "imagen_usage"]
    table.insert(rows, on_conflict=("id",), merge=None)


def test_usage_is_written_once_however_often_it_is_sent(
    fake: FakeSupabase, rest: RestClient, outgoing: Any
) -> None:
    item = outgoing()
    for _ in range(2):
        RemoteUsageTable(rest).send(item)

    [row] = fake.rows("mai", "imagen_usage")
    assert row["attempt_id"] == str(item.attempt.id)
    assert row["created_at"] == item.attempt.finished_at
    assert "prompt" not in row


def test_usage_is_read_beyond_what_one_answer_holds(fake: FakeSupabase, rest: RestClient) -> None:
    fake.world.max_rows = 10
    insert(fake, 25)

    rows = list(RemoteUsageTable(rest).read(since=None, until=None))

    assert len({row.attempt_id for row in rows}) == 25
    assert rows == sorted(rows, key=lambda row: row.created_at)
    assert rows[0].cost_usd == Decimal("0.25")


def test_usage_is_read_from_its_beginning_up_to_before_its_end(
    fake: FakeSupabase, rest: RestClient
) -> None:
    insert(fake, 10)
    began = datetime(2026, 11, 16, tzinfo=UTC)

    minutes = timedelta(minutes=1)
    rows = RemoteUsageTable(rest).read(since=began + 3 * minutes, until=began + 5 * minutes)

    assert [row.created_at.minute for row in rows] == [3, 4]


def test_usage_of_a_table_older_than_our_columns_is_read_all_the_same(
    fake: FakeSupabase, rest: RestClient
) -> None:
    insert(fake, 1, backend="old", attempt_id=None)
    fake.world.tables["mai", "imagen_usage"].drop_column("attempt_id")

    [row] = RemoteUsageTable(rest).read(since=None, until=None)

    assert (row.backend, row.attempt_id) == ("old", None)


def test_the_object_is_there_before_its_row(
    fake: FakeSupabase, rest: RestClient, storage: Storage, sqlite_desk: Any, outgoing: Any
) -> None:
    fake.world.closed.add(("imagen", "images"))
    sink = ImageUploads(sqlite_desk.ledger, storage, image_rows_over(rest))

    with pytest.raises(CloudError):
        sink.send(outgoing())

    assert len(fake.objects()) == 1


def test_an_object_refused_leaves_no_row(
    fake: FakeSupabase, rest: RestClient, storage: Storage, sqlite_desk: Any, outgoing: Any
) -> None:
    fake.world.closed.add(("storage", "objects"))
    sink = ImageUploads(sqlite_desk.ledger, storage, image_rows_over(rest))

    with pytest.raises(CloudError):
        sink.send(outgoing())

    assert fake.rows("imagen", "images") == []


@pytest.mark.parametrize(
    ("of_job", "of_sender", "owner"), [(OWNER, OTHER, OWNER), ("", OTHER, OTHER)]
)
def test_a_job_without_an_owner_gets_the_senders(
    fake: FakeSupabase,
    rest: RestClient,
    storage: Storage,
    sqlite_desk: Any,
    outgoing: Any,
    of_job: str,
    of_sender: str,
    owner: str,
) -> None:
    sink = ImageUploads(sqlite_desk.ledger, storage, image_rows_over(rest), of_sender)

    sink.send(outgoing(owner_user_id=of_job))

    [row] = fake.rows("imagen", "images")
    assert row["owner_user_id"] == owner
    assert row["storage_path"].startswith(f"{owner}/")


def test_nobodys_image_is_refused_alone(
    fake: FakeSupabase, rest: RestClient, storage: Storage, sqlite_desk: Any, outgoing: Any
) -> None:
    sink = ImageUploads(sqlite_desk.ledger, storage, image_rows_over(rest))

    with pytest.raises(CloudError, match="owner_user_id") as caught:
        sink.send(outgoing(owner_user_id=""))

    assert caught.value.only_this
    assert fake.objects() == {}
