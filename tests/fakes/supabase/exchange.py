"""Requests and replies of the fake Supabase, as its views see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``path`` is decoded, without its query; headers by lower-case name."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    def first(self, name: str, default: str = "") -> str:
        """The first value that the query has under a name."""
        return next((value for key, value in self.query if key == name), default)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back. ``data`` is left out of the answer to a HEAD, its length is not."""

    status: int
    data: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, json.dumps(body).encode(), headers=headers or {})


def html_reply(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply as gateways and login pages give it."""
    page = f"<html><body><h1>{text}</h1></body></html>"
    return Reply(status, page.encode(), "text/html", headers or {})
