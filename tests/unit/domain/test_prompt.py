"""Prompts as people type them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.domain.prompt import MAX_PROMPT_BYTES, clean_prompt, hash_prompt, require_prompt
from imagen.errors import RequestError


@given(st.text(max_size=200))
def test_a_clean_prompt_can_be_stored_and_is_otherwise_unchanged(text: str) -> None:
    cleaned, warnings = clean_prompt(text)

    cleaned.encode()
    assert "\x00" not in cleaned
    kept = [char for char in text if char != "\x00" and not "\ud800" <= char <= "\udfff"]
    assert cleaned == "".join(kept)
    assert bool(warnings) == (cleaned != text)


@given(st.text(max_size=200))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    cleaned, _ = clean_prompt(text)

    assert clean_prompt(cleaned) == (cleaned, ())


def test_the_limit_is_in_bytes_of_what_is_stored() -> None:
    assert clean_prompt("x" * MAX_PROMPT_BYTES + "\x00")[0] == "x" * MAX_PROMPT_BYTES
    for text in ("x" * (MAX_PROMPT_BYTES + 1), "é" * (MAX_PROMPT_BYTES // 2) + "x"):
        with pytest.raises(RequestError, match="the limit is 32,000"):
            clean_prompt(text)


def test_the_message_of_a_long_prompt_does_not_repeat_it() -> None:
    with pytest.raises(RequestError) as caught:
        clean_prompt("secret " * 10_000)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000", "\x00\ud800"])
def test_a_prompt_may_not_be_blank(text: str) -> None:
    with pytest.raises(RequestError, match="blank"):
        require_prompt(text)


def test_white_space_around_a_prompt_is_the_users_own() -> None:
    assert require_prompt("  fox ") == ("  fox ", ())


def test_the_hash_is_the_sha256_of_its_utf_8() -> None:
    assert hash_prompt("füchse") == hashlib.sha256("füchse".encode()).hexdigest()
