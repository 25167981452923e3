"""Keys of objects: ASCII, whatever they are made of."""

from __future__ import annotations

from uuid import UUID

import pytest

from imagen.cloud.keys import object_key, quote_key
from imagen.errors import CloudError, ConfigError

OWNER = "8f14e45f-ceea-4e6a-9b1f-0a1b2c3d4e5f"
JOB = UUID("01900000-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("slug", "last"),
    [
        ("red-fox", "red-fox.png"),
        ("Ein süßer Fuchs", "ein-susser-fuchs.png"),
        ("кот", "kot.png"),
        ("../../etc/passwd", "etc-passwd.png"),
        ("a#b?c%2Fd~e", "a-b-c-2fd-e.png"),
        ("\x00\n", "image.png"),
        ("", "image.png"),
    ],
)
def test_a_key_is_ascii_whatever_the_slug(slug, last):
    key = object_key(OWNER, JOB, slug, "png")

    assert key == f"{OWNER}/{JOB}-{last}"
    assert quote_key(key) == key


def test_a_long_slug_still_fits_a_segment():
    key = object_key(OWNER, JOB, "猫" * 500, "webp")

    assert max(map(len, key.split("/"))) <= 255
    assert key.endswith(".webp")


def test_the_folder_is_the_owners_id_as_the_database_writes_it():
    assert object_key(OWNER.upper(), JOB, "fox", ".PNG") == f"{OWNER}/{JOB}-fox.png"


@pytest.mark.parametrize("owner", ["", "me", "../other", f"{OWNER}/x"])
def test_an_owner_that_is_no_user_id_gets_no_folder(owner):
    with pytest.raises(ConfigError, match="owner_user_id"):
        object_key(owner, JOB, "fox", "png")


@pytest.mark.parametrize(
    "key",
    ["", "w/../x.png", "./x", "w//x", "/x", "x/", "w/é.png", "a#b", "a%b", "a~b", "a\\b", "a\n",
     "x" * 256, "/".join(["x" * 250] * 5)],
)  # fmt: skip
def test_a_key_that_would_land_elsewhere_is_refused_before_it_is_sent(key):
    with pytest.raises(CloudError) as caught:
        quote_key(key)

    assert caught.value.only_this
    assert not caught.value.retryable


def test_each_segment_is_quoted():
    assert quote_key("a b/c+d.png") == "a%20b/c%2Bd.png"
