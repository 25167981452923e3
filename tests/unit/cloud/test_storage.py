"""Uploading: once, into a private bucket, whatever happens on the way."""

from __future__ import annotations

import threading

import pytest

from imagen.errors import CloudError
from tests.fakes.supabase import FakeSupabase, Service, SupabaseFault
from tests.fakes.supabase.world import Stored

KEY = "owner/job-fox.png"
PNG = b"\x89PNG" + bytes(range(256)) * 100


def calls(fake: FakeSupabase) -> list[str]:
    return [f"{call.method} {call.path.removeprefix('/storage/v1')}" for call in fake.calls]


def test_the_bucket_is_made_private_when_it_is_missing(fake, storage):
    assert storage.find_bucket() is None

    storage.ensure_bucket()

    assert not fake.world.buckets["imagen-generated"].public
    assert storage.find_bucket().max_bytes is None


def test_making_the_bucket_twice_is_no_error(fake, storage, new_storage):
    storage.ensure_bucket()
    storage.ensure_bucket()
    new_storage().ensure_bucket()

    assert fake.count_calls("POST", "/bucket") == 1


def test_a_bucket_that_another_host_makes_meanwhile_is_as_good(fake, storage, monkeypatch):
    looked = []
    find = storage.find_bucket

    def find_late():
        looked.append(find())
        fake.add_bucket()
        return looked[-1]

    monkeypatch.setattr(storage, "find_bucket", find_late)

    assert not storage.ensure_bucket().is_public
    assert looked[0] is None


def test_a_public_bucket_is_refused_and_nothing_is_uploaded(fake, storage):
    fake.add_bucket(public=True)

    with pytest.raises(CloudError, match="public") as caught:
        storage.upload(KEY, PNG, "image/png")

    assert not caught.value.retryable
    assert not caught.value.only_this
    assert fake.objects() == {}


def test_an_image_arrives_whole_with_its_type(fake, storage):
    storage.upload(KEY, PNG, "image/png")

    assert fake.objects()[KEY].data == PNG
    assert fake.objects()[KEY].content_type == "image/png"


def test_the_bucket_is_looked_at_once_a_client(fake, storage):
    for name in ("a.png", "b.png", "c.png"):
        storage.upload(f"owner/{name}", PNG, "image/png")

    assert len(fake.objects()) == 3
    assert calls(fake)[:2] == ["GET /bucket/imagen-generated", "POST /bucket"]
    assert fake.count_calls("GET", "/bucket") == 1


def test_uploading_again_is_a_success_and_changes_nothing(fake, storage):
    storage.upload(KEY, PNG, "image/png")
    storage.upload(KEY, PNG, "image/png")

    assert len(fake.objects()) == 1
    assert fake.objects()[KEY].data == PNG


@pytest.mark.parametrize("other", [PNG[::-1], PNG + b"!"], ids=["same size", "other size"])
def test_other_bytes_under_the_same_key_are_an_error_that_says_so(fake, storage, other):
    fake.add_bucket().objects[KEY] = Stored(other, "image/png")

    with pytest.raises(CloudError, match="other content") as caught:
        storage.upload(KEY, PNG, "image/png")

    assert caught.value.only_this
    assert not caught.value.retryable
    assert fake.objects()[KEY].data == other


@pytest.mark.parametrize("tag", ["d41d8cd98f00b204e9800998ecf8427e-2", "whatever"])
def test_where_the_tag_is_no_md5_the_bytes_themselves_are_compared(fake, storage, tag):
    fake.add_bucket().objects[KEY] = Stored(PNG, "image/png", tag)
    fake.world.buckets["imagen-generated"].objects["owner/x.png"] = Stored(PNG[::-1], "", tag)

    storage.upload(KEY, PNG, "image/png")
    with pytest.raises(CloudError, match="other content"):
        storage.upload("owner/x.png", PNG, "image/png")


def test_a_cut_after_the_body_is_settled_at_once(fake, storage):
    storage.ensure_bucket()
    fake.inject(SupabaseFault.CUT_AFTER, method="POST")

    storage.upload(KEY, PNG, "image/png")

    assert fake.objects()[KEY].data == PNG
    assert calls(fake)[-3:] == [
        f"POST /object/imagen-generated/{KEY}",
        f"POST /object/imagen-generated/{KEY}",
        f"HEAD /object/imagen-generated/{KEY}",
    ]


@pytest.mark.parametrize(
    "fault", [SupabaseFault.TORN_ANSWER, SupabaseFault.ERROR_AFTER, SupabaseFault.SLOW]
)
def test_an_upload_that_landed_without_our_knowing_is_settled_by_the_next_try(
    fake, new_storage, fault
):
    storage = new_storage(read_timeout_s=0.3)
    storage.ensure_bucket()
    fake.inject(fault, method="POST", times=2)

    with pytest.raises(CloudError) as caught:
        storage.upload(KEY, PNG, "image/png")
    fake.heal()
    storage.upload(KEY, PNG, "image/png")

    assert caught.value.retryable
    assert list(fake.objects()) == [KEY]


@pytest.mark.parametrize("fault", [SupabaseFault.CUT_BEFORE, SupabaseFault.CUT_MID_BODY])
def test_a_cut_before_the_end_of_the_body_leaves_no_object_and_may_be_repeated(
    fake, storage, fault
):
    storage.ensure_bucket()
    fake.inject(fault, method="POST", times=2)

    with pytest.raises(CloudError, match="connection broke") as caught:
        storage.upload(KEY, PNG * 50, "image/png")
    left = fake.objects()
    storage.upload(KEY, PNG * 50, "image/png")

    assert caught.value.retryable
    assert left == {}
    assert list(fake.objects()) == [KEY]


def test_many_uploads_of_one_image_at_once_make_one_object(fake, storage):
    storage.ensure_bucket()
    failed = []

    def upload():
        try:
            storage.upload(KEY, PNG, "image/png")
        except CloudError as exc:
            failed.append(exc)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert failed == []
    assert list(fake.objects()) == [KEY]


def test_a_bucket_deleted_since_is_made_again(fake, storage):
    storage.upload("owner/first.png", PNG, "image/png")
    fake.world.buckets.clear()

    storage.upload(KEY, PNG, "image/png")

    assert list(fake.objects()) == [KEY]
    assert not fake.world.buckets["imagen-generated"].public


def test_an_image_above_the_buckets_limit_is_not_sent(fake, storage):
    fake.add_bucket(file_size_limit=1000)

    with pytest.raises(CloudError, match="takes 1,000") as caught:
        storage.upload(KEY, PNG, "image/png")

    assert caught.value.only_this
    assert fake.count_calls("POST", "/object") == 0


def test_no_bytes_are_no_image(fake, storage):
    with pytest.raises(CloudError, match="no bytes"):
        storage.upload(KEY, b"", "image/png")

    assert fake.calls == []


def test_a_connection_the_server_closed_meanwhile_costs_nothing(fake, storage):
    storage.ensure_bucket()
    fake.go_down()
    fake.come_back()

    storage.upload(KEY, PNG, "image/png")

    assert list(fake.objects()) == [KEY]


def test_faults_may_be_limited_to_a_service(fake, storage, rest):
    fake.inject(SupabaseFault.DATABASE_DOWN, service=Service.REST, times=None)

    storage.upload(KEY, PNG, "image/png")
    with pytest.raises(CloudError):
        rest.missing_columns("mai", "imagen_usage", ["id"])

    assert list(fake.objects()) == [KEY]
