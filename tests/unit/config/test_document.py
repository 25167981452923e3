"""Tests of imagen.config.document: which YAML is read, and how the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from imagen.config import document as document_module
from imagen.config.document import Document, parse_document


class PythonLoader(yaml.SafeLoader):
    """What PyYAML falls back to where it was built without libyaml."""

    yaml_implicit_resolvers = document_module._Loader.yaml_implicit_resolvers


@pytest.fixture(params=["as installed", "without the C parser"], autouse=True)
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "as installed":
        monkeypatch.setattr(document_module, "_Loader", PythonLoader)


def parse(text: str) -> Document:
    return parse_document(text, source="f.yaml")


def complaints(text: str) -> list[str]:
    return [str(problem) for problem in parse(text).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("010", 10),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        ("1536x768", "1536x768"),
        ("[1, [a]]", [1, ["a"]]),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_plain_words_are_text_except_for_what_json_has_too(text: str, value: Any) -> None:
    parsed = parse(f"a: {text}\n")

    assert not parsed.problems
    assert parsed.data == {"a": value}
    assert type(parsed.data["a"]) is type(value)


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("6: a\non: b\n1.5: c\n").data == {"6": "a", "on": "b", "1.5": "c"}


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    parsed = parse(
        "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  y: 3\n  <<: [*b, *a]\nd: *a\ne: {<<: *b}\n"
    )

    assert not parsed.problems
    assert parsed.data["c"] == {"x": 1, "y": 3, "z": 2}
    assert parsed.data["d"] == {"x": 1, "y": 1}
    assert parsed.data["e"] == {"y": 2, "z": 2}
    assert str(parsed.locations[("c", "y")]) == "f.yaml:4"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a:\n\tb: 1\n", "f.yaml:2: indented with a tab; YAML wants spaces"),
        ("a: 1\nb: [\n", "f.yaml:"),
        ("a: 1\na: 2\n", "f.yaml:2: duplicate key 'a'; it stands on line 1 too"),
        ("x: {a: 1,\n  b: 1, 'a': 2}\n", "f.yaml:2: duplicate key 'a'; it stands on line 1 too"),
        ("# c\n- a\n", "f.yaml:2: the file holds a list; it must hold keys"),
        ("hello", "f.yaml:1: the file holds a single value"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2: not readable as YAML: expected a single document"),
        ("a: *b\n", "f.yaml:1: not readable as YAML: found undefined alias"),
        ("a: &a [*a]\n", "f.yaml:1: an alias that stands inside what it names"),
        ("a: &a\n  b: *a\n", "f.yaml:"),
        ("a: &a\n  <<: *a\n", "f.yaml:"),
        ("a:\n  <<: 5\n", "f.yaml:2: '<<' must name a block of keys"),
        ("~: 1\n", "f.yaml:1: a key must be plain text"),
        ("[a]: 1\n", "f.yaml:1: a key must be plain text"),
        ("a: !!python/object:os.system x\n", "f.yaml:1: the tag"),
        ("a: !mine x\n", "f.yaml:1: the tag '!mine' is not supported"),
        ("a: !!set {x}\n", "f.yaml:1: the tag '!!set' is not supported"),
        ("a: !!omap [x: 1]\n", "f.yaml:1: the tag '!!omap' is not supported"),
        ("a: !!int x\n", "f.yaml:1: 'x' is not what its tag says it is"),
        ("a: !!bool yes\n", "f.yaml:1: 'yes' is not what its tag says it is"),
        ('a: "\\0"\n', "f.yaml:1: a NUL"),
        (f"a: {'9' * 5000}\n", "f.yaml:1: a number of 5000 characters"),
        ("a: 1e999\n", "f.yaml:1: the number 1e999 is too large"),
        ("a: b\nc: \x00\n", "f.yaml:2: not readable as YAML: it holds a control character"),
        ("a: @b\n", "f.yaml:1: not readable as YAML: found character"),
        ("a: {b}-{c}\n", "f.yaml:1: not readable as YAML:"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, complaint: str) -> None:
    (line,) = complaints(text)

    assert line.startswith(complaint)


def test_an_unquoted_template_is_told_to_wear_quotes() -> None:
    (line,) = complaints("output:\n  naming: {date}-{time}.{ext}\n")

    assert line.startswith("f.yaml:2: ")
    assert line.endswith("needs quotes around it")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_nesting_without_end_is_refused_before_it_can_hurt(text: str) -> None:
    (line,) = complaints(text)

    assert "nested more than 40 deep" in line


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )

    (line,) = complaints(bomb)

    assert "more than 20,000 values" in line


def test_aliases_of_aliases_count_as_depth() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))

    (line,) = complaints(chain)

    assert "nested more than 40 deep" in line
