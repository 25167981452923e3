"""What PostgREST's refusals are taken for, and that nothing of a row comes with them."""

from __future__ import annotations

import json
import pickle
from uuid import UUID

import pytest

from imagen.cloud.rest_refusals import rest_refusal
from imagen.cloud.settings import SupabaseSettings
from imagen.errors import CloudError
from imagen.http.exchange import HttpAnswer
from tests.fakes.supabase import SupabaseFault
from tests.fakes.supabase.faults import TEMPORARY
from tests.fakes.supabase.keyring import make_jwt

SECRET_PROMPT = "the secret fox"
ROW = {
    "id": UUID(int=1),
    "job_id": UUID(int=2),
    "owner_user_id": UUID(int=3),
    "storage_path": "owner/1.png",
    "backend": "mock",
    "prompt": SECRET_PROMPT,
}

both_versions = pytest.mark.parametrize("postgrest", [12, 14])


def refused(rest, **more) -> CloudError:
    with pytest.raises(CloudError) as caught:
        rest.insert("imagen", "images", {**ROW, **more}, on_conflict="id", merge=True)
    assert SECRET_PROMPT not in repr(caught.value)
    return caught.value


@pytest.mark.parametrize("fault", [*TEMPORARY, SupabaseFault.CUT_AFTER])
def test_what_passes_by_is_retryable(fake, rest, fault):
    fake.inject(fault, times=None)

    error = refused(rest)

    assert error.retryable
    assert not error.only_this


def test_rest_down_is_told_with_its_address(fake, rest):
    fake.go_down()

    error = refused(rest)

    assert error.retryable
    assert (
        error.message == f"the Supabase REST API at {fake.url} did not answer: connection refused"
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (SupabaseFault.RESTRICTED, "quota or a bill"),
        (SupabaseFault.LOGIN_PAGE, "is not the Supabase REST API"),
        (SupabaseFault.REDIRECTED, "redirects"),
    ],
)
def test_what_somebody_must_put_right_is_not_retryable(fake, rest, fault, words):
    fake.inject(fault, times=None)

    error = refused(rest)

    assert words in error.message
    assert not error.retryable


def test_a_login_page_is_no_answer_to_a_question_either(fake, rest):
    fake.inject(SupabaseFault.LOGIN_PAGE, times=None)

    with pytest.raises(CloudError, match="is not the Supabase REST API"):
        list(rest.select_pages("imagen", "images", ["id"], order=["id"]))


@both_versions
@pytest.mark.parametrize("checks_keys", [True, False], ids=["gateway", "service"])
@pytest.mark.parametrize(
    "key", ["sb_secret_wrong", make_jwt("service_role", signature="wrong"), "garbage"]
)
def test_a_wrong_key_is_told_as_one(fake, new_rest, postgrest, checks_keys, key):
    fake.world.postgrest = postgrest
    fake.world.keyring.checks_keys = checks_keys

    error = refused(new_rest(key))

    assert "the key in SUPABASE_SERVICE_KEY" in error.message
    assert not error.retryable
    assert key not in str(error)


@both_versions
def test_an_expired_key_is_told_as_a_wrong_one(fake, new_rest, postgrest):
    fake.world.postgrest = postgrest
    fake.world.keyring.expired.add(fake.jwt_key)

    assert "refused the key" in refused(new_rest(fake.jwt_key)).message


@both_versions
@pytest.mark.parametrize("schema", ["imagen", "mai"])
def test_a_schema_that_is_not_exposed_names_the_setting(fake, rest, postgrest, schema):
    fake.world.postgrest = postgrest
    fake.world.exposed.remove(schema)

    with pytest.raises(CloudError) as caught:
        rest.missing_columns(schema, "anything", ["id"])

    assert f"schema {schema!r} is not exposed" in caught.value.message
    assert "exposed schemas" in caught.value.hint
    assert not caught.value.retryable
    assert not caught.value.only_this


@pytest.mark.parametrize("place", [("imagen", ""), ("imagen", "images")])
def test_missing_grants_are_told_with_what_to_grant(fake, rest, place):
    fake.world.ungranted.add(place)

    error = refused(rest)

    assert "no rights on imagen.images" in error.message
    assert "grant usage on schema imagen" in error.hint
    assert not error.retryable


def test_a_key_of_lesser_rights_is_told(fake, new_rest):
    error = refused(new_rest(fake.anon_key))

    assert "no rights" in error.message
    assert not error.retryable


def test_a_refusal_by_row_level_security_is_told_apart_from_grants(fake, rest):
    fake.world.closed.add(("imagen", "images"))

    error = refused(rest)

    assert "row-level security of imagen.images" in error.message
    assert not error.retryable


@both_versions
def test_a_missing_table_is_told_whichever_way_it_is_spelled(fake, rest, postgrest):
    fake.world.postgrest = postgrest
    del fake.world.tables["imagen", "images"]

    on_insert = refused(rest)
    with pytest.raises(CloudError) as on_select:
        list(rest.select_pages("imagen", "images", ["id"], order=["id"]))

    for error in (on_insert, on_select.value):
        assert error.message == "table imagen.images is not in the Supabase project"
        assert "imagen db" in error.hint


@both_versions
def test_a_missing_column_is_named(fake, rest, postgrest):
    fake.world.postgrest = postgrest
    fake.world.tables["imagen", "images"].drop_column("storage_path")

    error = refused(rest)

    assert error.message == "table imagen.images in Supabase has no column 'storage_path'"
    assert "imagen db" in error.hint


def test_a_missing_unique_index_is_told(fake, rest):
    fake.world.tables["imagen", "images"].unique = [("job_id",)]

    assert "unique index" in refused(rest).message


def test_a_row_that_is_too_large_is_only_its_own_problem(fake, rest):
    fake.world.max_body_bytes = 2000

    error = refused(rest, sidecar={"text": "x" * 5000})

    assert "larger" in error.message
    assert error.only_this
    assert not error.retryable


@pytest.mark.parametrize(
    "more", [{"width": 2**40}, {"owner_user_id": "nobody"}, {"owner_user_id": None}, {"tags": 1}]
)
def test_a_row_that_does_not_fit_is_only_its_own_problem(fake, rest, more):
    error = refused(rest, **more)

    assert "does not fit table imagen.images" in error.message
    assert error.only_this
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "code", "retryable", "only_this"),
    [
        (409, "23503", False, True),
        (400, "22P05", False, True),
        (500, "54000", False, True),
        (500, "40P01", True, False),
        (503, "08006", True, False),
        (500, "57P01", True, False),
        (500, "XX000", True, False),
        (503, "PGRST001", True, False),
        (400, "P0001", False, False),
        (400, "22023", False, False),
        (500, "", True, False),
        (431, "", False, False),
        (404, "", False, False),
    ],
)
def test_a_code_says_more_than_a_status(status, code, retryable, only_this):
    body = {"code": code or None, "message": SECRET_PROMPT, "details": SECRET_PROMPT}
    settings = SupabaseSettings("https://example.supabase.co", "test-token")

    error = rest_refusal(
        HttpAnswer(status, {}, json.dumps(body).encode()), settings, schema="imagen", table="images"
    )

    assert (error.retryable, error.only_this) == (retryable, only_this)
    assert SECRET_PROMPT not in repr(error)
    assert "test-token" not in repr(error)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\xff", b'{"code": 7}', b"[" * 9999])
def test_a_strange_body_is_judged_by_its_status(raw):
    settings = SupabaseSettings("https://example.supabase.co", "test-token")

    error = rest_refusal(HttpAnswer(503, {}, raw), settings, schema="imagen", table="images")

    assert error.retryable


def test_an_error_of_its_own_survives_the_queue():
    error = CloudError("why", "hint", True, True)

    again = pickle.loads(pickle.dumps(error))

    assert (again.message, again.hint, again.retryable, again.only_this) == (
        "why",
        "hint",
        True,
        True,
    )
    assert not CloudError("why").retryable
