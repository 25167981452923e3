"""What the environment may say about the Supabase project, and what it may not."""

from __future__ import annotations

import pytest

from imagen.cloud.settings import (
    SupabaseSettings,
    missing_variables,
    project_ref,
    read_settings,
)
from imagen.errors import ConfigError, CredentialError
from tests.fakes.supabase.keyring import make_jwt

URL = "https://abcdefgh.supabase.co"
KEY = "sb_secret_test-token"


def read(url: str = URL, key: str = KEY) -> SupabaseSettings:
    found = read_settings({"SUPABASE_URL": url, "SUPABASE_SERVICE_KEY": key})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({}, ("SUPABASE_URL", "SUPABASE_SERVICE_KEY")),
        ({"SUPABASE_URL": URL}, ("SUPABASE_SERVICE_KEY",)),
        ({"SUPABASE_URL": URL, "SUPABASE_SERVICE_KEY": " "}, ("SUPABASE_SERVICE_KEY",)),
        ({"MAI_SUPABASE_KEY": KEY}, ("SUPABASE_URL",)),
    ],
)
def test_without_both_variables_there_is_no_project(env, missing):
    assert read_settings(env) is None
    assert missing_variables(env) == missing


def test_either_variable_may_hold_the_key_and_the_service_key_wins():
    other = read_settings({"SUPABASE_URL": URL, "MAI_SUPABASE_KEY": KEY})
    both = read_settings(
        {"SUPABASE_URL": URL, "MAI_SUPABASE_KEY": "other", "SUPABASE_SERVICE_KEY": KEY}
    )

    assert (other.key, other.key_variable) == (KEY, "MAI_SUPABASE_KEY")
    assert (both.key, both.key_variable) == (KEY, "SUPABASE_SERVICE_KEY")


@pytest.mark.parametrize(
    "pasted", [URL, f"{URL}/", f" {URL} ", f"{URL}/rest/v1", f"{URL}/rest/v1/", f"{URL}/storage/v1"]
)
def test_an_address_is_understood_however_it_was_pasted(pasted):
    assert read(pasted).url == URL
    assert project_ref({"SUPABASE_URL": pasted}) == "abcdefgh"


@pytest.mark.parametrize(
    "url",
    [
        "abcdefgh.supabase.co",
        "postgresql://postgres:test-password@db.abcdefgh.supabase.co:5432/postgres",
        "https://supabase.com/dashboard/project/abcdefgh",
        "https://user:test-password@abcdefgh.supabase.co",
        f"{URL}/some/where",
        f"{URL}:notaport",
        "https://[::1",
        "http://abcdefgh.supabase.co",
        "http://8.8.8.8:8000",
    ],
)
def test_an_address_that_cannot_be_a_projects_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError, match="SUPABASE_URL") as caught:
        read(url)

    assert "test-password" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000", "http://127.0.0.1:54321", "http://kong:8000", "http://192.168.1.5"],
)
def test_plain_http_is_for_this_machine_and_its_network(url):
    assert read(url).url == url
    assert project_ref({"SUPABASE_URL": url}) is None


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("sb_publishable_test", "publishable"),
        (make_jwt("anon"), "anon key"),
        ("test token", "characters"),
        ("test\ntoken", "characters"),
        ("tést", "characters"),
    ],
)
def test_a_key_that_cannot_write_is_refused_without_repeating_it(key, complaint):
    with pytest.raises(CredentialError, match=complaint) as caught:
        read(key=key)

    assert key not in str(caught.value)


def test_both_kinds_of_service_key_are_taken():
    assert not read(key=KEY).key_is_jwt
    assert read(key=make_jwt("service_role")).key_is_jwt
    # Not a token that can be read: the server is the judge.
    assert read(key="eyJhbGciOiJIUzI1NiJ9").key_is_jwt


def test_the_key_is_in_no_repr():
    assert KEY not in repr(read())
