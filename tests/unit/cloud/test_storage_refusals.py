"""What Storage's refusals are taken for: by the body, and by HTTP only where it says nothing."""

from __future__ import annotations

from contextlib import closing

import pytest

from imagen.cloud.settings import SupabaseSettings
from imagen.cloud.storage import Storage
from imagen.errors import CloudError
from tests.fakes.supabase import SupabaseFault
from tests.fakes.supabase.faults import TEMPORARY
from tests.fakes.supabase.keyring import make_jwt

KEY = "owner/job-fox.png"
PNG = b"\x89PNG" * 100


def refused(storage) -> CloudError:
    with pytest.raises(CloudError) as caught:
        storage.upload(KEY, PNG, "image/png")
    return caught.value


@pytest.mark.parametrize("fault", [*TEMPORARY, SupabaseFault.TORN_ANSWER])
@pytest.mark.parametrize("sends_codes", [True, False])
def test_what_passes_by_is_retryable_whatever_its_http_status(fake, storage, fault, sends_codes):
    fake.world.sends_codes = sends_codes
    fake.add_bucket()
    fake.inject(fault, times=None)

    error = refused(storage)

    assert error.retryable
    assert not error.only_this
    assert fake.objects() == {}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (SupabaseFault.RESTRICTED, "quota or a bill"),
        (SupabaseFault.LOGIN_PAGE, "is not Supabase Storage"),
        (SupabaseFault.REDIRECTED, "redirects"),
    ],
)
def test_what_somebody_must_put_right_is_not_retryable(fake, storage, fault, words):
    storage.ensure_bucket()
    fake.inject(fault, times=None)

    error = refused(storage)

    assert words in error.message
    assert not error.retryable
    assert fake.objects() == {}


def test_storage_down_is_told_with_its_address(fake, storage):
    fake.go_down()

    error = refused(storage)

    assert error.retryable
    assert error.message == f"Supabase Storage at {fake.url} did not answer: connection refused"
    assert "SUPABASE_URL" in error.hint


def test_an_answer_that_never_comes_is_given_up(fake, new_storage):
    fake.world.slow_s = 5
    fake.inject(SupabaseFault.SLOW, times=None)

    error = refused(new_storage(read_timeout_s=0.2))

    assert error.retryable
    assert "timed out" in error.message


@pytest.mark.parametrize("checks_keys", [True, False], ids=["gateway", "service"])
@pytest.mark.parametrize(
    "key", ["sb_secret_wrong", make_jwt("service_role", signature="wrong"), "garbage"]
)
def test_a_wrong_key_is_told_as_one(fake, new_storage, checks_keys, key):
    fake.world.keyring.checks_keys = checks_keys
    fake.add_bucket()

    error = refused(new_storage(key))

    assert "SUPABASE_SERVICE_KEY" in error.message
    assert not error.retryable
    assert not error.only_this
    assert key not in str(error)


def test_an_expired_key_is_told_as_a_wrong_one(fake, storage, new_storage):
    fake.world.keyring.expired.add(fake.jwt_key)

    assert "refused the key" in refused(new_storage(fake.jwt_key)).message


@pytest.mark.parametrize("key", ["sb_secret_wrong", "eyJ.wrong.wrong"])
def test_a_wrong_key_is_not_taken_for_a_missing_bucket(fake, storage, new_storage, key):
    storage.upload(KEY, PNG, "image/png")

    with pytest.raises(CloudError, match="refused the key"):
        new_storage(key).find_bucket()


def test_both_kinds_of_key_work(fake, new_storage):
    new_storage(fake.key).upload("owner/a.png", PNG, "image/png")
    new_storage(fake.jwt_key).upload("owner/b.png", PNG, "image/png")

    secret, jwt = fake.calls[0].headers, fake.calls[-1].headers
    assert len(fake.objects()) == 2
    assert secret["apikey"] == fake.key
    assert "authorization" not in secret
    assert jwt["apikey"] == fake.jwt_key
    assert jwt["authorization"] == f"Bearer {fake.jwt_key}"


def test_a_self_hosted_gateway_that_does_not_know_the_new_keys_is_told(fake, storage):
    fake.world.keyring.swaps_keys = False

    error = refused(storage)

    assert "does not know keys" in error.message
    assert "service_role" in error.hint


@pytest.mark.parametrize("sends_codes", [True, False])
def test_a_refusal_by_row_level_security_is_told(fake, storage, sends_codes):
    fake.world.sends_codes = sends_codes
    fake.add_bucket()
    fake.world.closed.add(("storage", "objects"))

    error = refused(storage)

    assert "row-level security" in error.message
    assert not error.retryable


def test_a_key_without_the_right_to_make_the_bucket_is_told(fake, storage):
    fake.world.closed.add(("storage", "buckets"))

    assert "row-level security" in refused(storage).message


@pytest.mark.parametrize("sends_codes", [True, False])
def test_an_image_above_the_projects_limit_is_only_its_own_problem(fake, storage, sends_codes):
    fake.world.sends_codes = sends_codes
    fake.world.upload_limit_bytes = 100

    error = refused(storage)

    assert "413" in error.message
    assert error.only_this
    assert not error.retryable


def test_a_bucket_that_does_not_take_images_is_told(fake, storage):
    fake.add_bucket(allowed_mime_types=["text/plain"])

    error = refused(storage)

    assert "type of file" in error.message
    assert not error.only_this


@pytest.mark.parametrize("sends_codes", [True, False])
def test_older_servers_without_codes_are_understood(fake, storage, sends_codes):
    fake.world.sends_codes = sends_codes

    storage.upload(KEY, PNG, "image/png")
    storage.upload(KEY, PNG, "image/png")

    assert list(fake.objects()) == [KEY]


def test_a_server_that_is_no_supabase_is_told(fake):
    # Everything outside /storage/v1 and /rest/v1 is unknown to the gateway.
    with closing(Storage(SupabaseSettings(f"{fake.url}/elsewhere", fake.key))) as storage:
        assert "is not Supabase Storage" in refused(storage).message
