"""Names are readable, and no prompt or setting makes one dangerous."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.output.naming import MAX_NAME_BYTES, numbered, render_name, slugify, split_suffix

NASTY = "../../etc/passwd\x00\n\u202egnp.exe"


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("A Red Fox, in the Snow!", "a-red-fox-in-the-snow"),
        ("don't stop", "dont-stop"),
        ("Übergrößenträger", "ubergrossentrager"),
        ("Привет, мир", "privet-mir"),
        ("日本", "riben"),
        ("مرحبا", "mrhb"),
        ("🦊", "fox"),
        ("../../etc/passwd", "etc-passwd"),
        ("$(rm -rf /); `id` | cat", "rm-rf-id-cat"),
        ("{seed} {0} %s %(x)s", "seed-0-s-x-s"),
        ("--help", "help"),
        ("con", "con-image"),
        ("NUL", "nul-image"),
        ("!!! ???", "image"),
        ("", "image"),
    ],
)
def test_a_slug_is_plain_words(text: str, slug: str) -> None:
    assert slugify(text) == slug


def test_a_slug_is_cut_between_words() -> None:
    slug = slugify("a very detailed photograph of an astronaut riding a horse")

    assert slug == "a-very-detailed-photograph-of-an"


def test_a_slug_of_one_long_word_is_cut_inside_it() -> None:
    assert slugify("x" * 100) == "x" * 40
    assert slugify("a " + "x" * 100) == "a-" + "x" * 38


@given(st.text(), st.integers(5, 60))
def test_a_slug_is_never_empty_long_or_odd(text: str, max_chars: int) -> None:
    slug = slugify(text, max_chars=max_chars)

    assert 1 <= len(slug) <= max_chars
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug.strip("-") == slug


def test_a_template_is_filled_in() -> None:
    values = {"date": "20261120", "time": "093000", "slug": "fox", "seed": 7}

    name = render_name("{date}-{time}-{slug}-{seed}.{ext}", values)

    assert name == "20261120-093000-fox-7.{ext}"


@pytest.mark.parametrize(
    "template",
    [
        *("{nobody}.png", "{seed:>10}.png", "{a.__class__}.png", "{a[0]}.png", "{.png"),
        *("}}{{.png", "{}.png", "{ seed }.png", "%s.png", "$seed.png"),
    ],
)
def test_what_is_no_placeholder_stays_as_it_is(template: str) -> None:
    assert render_name(template, {"seed": 7, "a": "x"}) == template


def test_values_are_not_templates() -> None:
    assert render_name("{slug}.png", {"slug": "{seed}", "seed": 7}) == "{seed}.png"


def test_folders_come_from_the_template_alone() -> None:
    values = {"model": "black-forest-labs/flux", "batch": "a\\b", "slug": "fox"}

    name = render_name("{model}/{batch}/{slug}.png", values)

    assert name == "black-forest-labs-flux/a-b/fox.png"


@pytest.mark.parametrize("template", ["{x}.png", "{x}/{x}.png", "a{x}/{x}{x}.png", "/{x}/../{x}"])
@pytest.mark.parametrize("value", [NASTY, "..", ".", "/", "...", ".hidden", "-rf", "", "\x00"])
def test_a_value_leads_nowhere_else(template: str, value: str) -> None:
    name = render_name(template, {"x": value})

    segments = name.split("/")
    assert name
    assert not name.startswith("/")
    assert not {"", ".", ".."} & set(segments)
    assert not any(segment.startswith((".bash", "-")) for segment in segments)
    assert not any(ord(character) < 32 or character == "\u202e" for character in name)


def test_a_value_hides_no_file() -> None:
    assert render_name("{x}.png", {"x": ".bashrc"}) == "bashrc.png"
    assert render_name("out/{x}/fox.png", {"x": ".ssh"}) == "out/ssh/fox.png"


def test_a_long_name_keeps_its_suffix_and_room_for_a_number() -> None:
    name = render_name("{x}.{ext}", {"x": "ü" * 300})

    assert name.endswith("ü.{ext}")
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert len(numbered(name, 999).replace("{ext}", "webp").encode()) + len(".json") <= 255


def test_a_template_of_nothing_gives_a_name() -> None:
    assert render_name("{x}", {"x": ""}) == "image"


@pytest.mark.parametrize(
    ("name", "n", "expected"),
    [
        ("fox.png", 1, "fox.png"),
        ("fox.png", 2, "fox-2.png"),
        ("a.b/fox.JPG", 12, "a.b/fox-12.JPG"),
        ("fox.{ext}", 2, "fox-2.{ext}"),
        ("f1.8 portrait", 2, "f1.8 portrait-2"),
        ("fox.tar.webp", 3, "fox.tar-3.webp"),
    ],
)
def test_the_number_stands_before_the_suffix(name: str, n: int, expected: str) -> None:
    assert numbered(name, n) == expected


def test_only_an_image_suffix_is_one() -> None:
    assert split_suffix("fox.png") == ("fox", ".png")
    assert split_suffix("fox.gif") == ("fox.gif", "")
