"""Tests of the sample that `imagen config init` prints."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import BaseModel

from imagen.config.load import sample_text
from imagen.config.schema import Config

SECTIONS = ("output", "queue", "database", "results", "artifacts", "workers")


def test_the_sample_says_what_holds_without_it(load: Callable[..., Config]) -> None:
    assert load(sample_text()).model_dump() == Config().model_dump()


def test_the_sample_shows_every_key(load: Callable[..., Config]) -> None:
    shown: dict[tuple[object, ...], set[object]] = {}
    for *parent, key in load(sample_text()).locations:
        shown.setdefault(tuple(parent), set()).add(key)
    built_in = Config()
    parts: dict[tuple[str, ...], BaseModel] = {
        (): built_in,
        ("workers", "concurrency"): built_in.workers.concurrency,
        **{(name,): getattr(built_in, name) for name in SECTIONS},
    }

    for path, part in parts.items():
        assert shown[path] == set(type(part).model_fields)


def test_the_sample_fits_a_terminal() -> None:
    assert max(map(len, sample_text().splitlines())) <= 100


def test_the_sample_holds_no_secret() -> None:
    assert not re.search(r"(token|key|password):", sample_text())
