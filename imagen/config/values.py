"""The types of values in imagen.yaml, with the spellings that each accepts."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field

from imagen.domain.size import parse_size
from imagen.errors import RequestError

_SWITCH_WORDS = {
    **dict.fromkeys((True, "yes", "true", "1"), "on"),
    **dict.fromkeys((False, "no", "false", "0"), "off"),
}


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _switch_word(value: object) -> object:
    word = _lower(value)
    return _SWITCH_WORDS.get(word, word) if isinstance(word, str | bool) else word


def _format_word(value: object) -> object:
    word = _lower(value)
    return "jpeg" if word == "jpg" else word


def _flag_word(value: object) -> object:
    """A boolean for words that YAML 1.1 read as one."""
    return {"on": True, "off": False}.get(str(_switch_word(value)), value)


def _name(value: str) -> str:
    # Names of backends and styles become parts of file names, queue keys and tables.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise ValueError(
            "a name is 1 to 63 letters, digits, '.', '_' or '-', and begins with a letter or digit"
        )
    return value


def _queue_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,62}", value):
        raise ValueError(
            "a queue's name is 1 to 63 of a-z, 0-9, '_', '.' and '-', and begins with a letter"
        )
    if value.startswith("results."):
        raise ValueError("queues named 'results.…' are for deliveries; choose another name")
    return value


def _size_text(value: str) -> str:
    if value == "":
        return value
    try:
        return str(parse_size(value))
    except RequestError as exc:
        raise ValueError(exc.message) from exc


def _user_id(value: str) -> str:
    if value == "":
        return value
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("a user's id is a UUID (auth.users.id), or empty") from None


def url_with(schemes: tuple[str, ...]) -> AfterValidator:
    """A check that an address, when there is one, has one of ``schemes``.

    The address may hold a password, so the message does not quote it.
    """

    def check(value: str) -> str:
        value = value.strip()
        if value and value.partition(":")[0] not in schemes:
            raise ValueError("an address begins with " + " or ".join(f"{s}://" for s in schemes))
        return value

    return AfterValidator(check)


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("an empty list would allow no folder at all; leave the key out")
    return value


def _folder(value: str) -> str:
    if not value.startswith(("/", "~")):
        raise ValueError("a folder here is an absolute path, or begins with ~/")
    return value


Name = Annotated[str, AfterValidator(_name)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch_word)]
Flag = Annotated[bool, BeforeValidator(_flag_word)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Slots = Annotated[int, Field(ge=1, le=1_024)]
Metadata = Annotated[Literal["full", "safe", "none"], BeforeValidator(_lower)]
Format = Annotated[Literal["png", "jpeg", "webp"], BeforeValidator(_format_word)]
QueueName = Annotated[str, AfterValidator(_queue_name)]
SizeText = Annotated[str, AfterValidator(_size_text)]
UserId = Annotated[str, AfterValidator(_user_id)]
Folder = Annotated[str, AfterValidator(_folder)]
Folders = Annotated[tuple[Folder, ...], Field(strict=False), AfterValidator(_some)]
