"""The shape of the messages that workers accept: Celery's protocol 2, as our publishers write it.

Celery and kombu trust what they read: a message that lacks a key, or holds a value of another type,
raises out of the event loop and ends the worker. Observed on Celery 5.7.0 and kombu 5.7.0.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from kombu.utils.json import loads
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from imagen.queue.broker.routing import DELIVER_TASK, GENERATE_TASK, SYNC_TASK

#: Messages of imagen have less than 2 kB.
MAX_MESSAGE_BYTES = 65_536


class BrokenMessage(Exception):
    """A message that a worker cannot read; says what is wrong without quoting from it."""


class _Part(BaseModel):
    # Other keys are let through: Celery's own releases add some.
    model_config = ConfigDict(frozen=True, extra="ignore")


def _require_uuid(text: str) -> str:
    UUID(text)
    return text


def _require_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("no time zone")
    return text


def _require_our_task(name: str) -> str:
    if name not in (GENERATE_TASK, DELIVER_TASK, SYNC_TASK):
        raise ValueError("no task of ours")
    return name


_Text = Annotated[str, Field(strict=True)]
_OptionalText = _Text | None
_Id = Annotated[_Text, AfterValidator(_require_uuid)]
_Time = Annotated[_Text, AfterValidator(_require_time)]
_Count = Annotated[int, Field(strict=True, ge=0, le=100_000)]


class _Headers(_Part):
    task: Annotated[_Text, AfterValidator(_require_our_task)]
    id: _Id
    root_id: _Id | None = None
    parent_id: _Id | None = None
    shadow: None = None
    group: None = None
    group_index: None = None
    eta: _Time | None = None
    expires: None = None
    retries: _Count = 0
    timelimit: tuple[None, None] | None = None
    argsrepr: _OptionalText = None
    kwargsrepr: _OptionalText = None
    origin: _OptionalText = None
    ignore_result: bool | None = None
    replaced_task_nesting: _Count = 0
    stamped_headers: list[str] | None = None
    stamps: dict[str, list[str] | str] | None = None
    compression: None = None


class _DeliveryInfo(_Part):
    exchange: _Text
    routing_key: _Text
    redelivered: bool = False
    priority: _Count | None = None


class _Properties(_Part):
    delivery_tag: Annotated[str, Field(strict=True, min_length=1)]
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64"]
    priority: _Count | None = None
    correlation_id: _OptionalText = None
    reply_to: _OptionalText = None


class _Message(_Part):
    headers: _Headers
    properties: _Properties
    body: _Text
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")


def check_message(raw: bytes) -> None:
    """Accept a message of a queue that Celery can be given.

    Raises:
        BrokenMessage: Celery cannot read it, or it is no message of imagen.
    """
    content = read_object(raw)
    try:
        message = _Message.model_validate(content)
    except ValidationError as error:
        raise BrokenMessage(_first_problem(error)) from None
    _check_body(message.body)


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object that ``raw`` holds, read as kombu reads it.

    Raises:
        BrokenMessage: it is too long, or holds no JSON object.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise BrokenMessage(f"longer than {MAX_MESSAGE_BYTES} bytes")
    try:
        content = loads(raw.decode())
    except Exception as error:
        # Not only ValueError: kombu runs converters that the message names, and deep nesting raises
        # RecursionError.
        raise BrokenMessage(f"not JSON ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise BrokenMessage(f"a JSON {type(content).__name__} instead of an object")
    return content


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    place = ".".join(str(part) for part in problems[0]["loc"][:2])
    return f"{place}: {problems[0]['type']}"


def _check_body(body: str) -> None:
    """Require exactly one argument, a text, as Celery's protocol 2 encodes it."""
    try:
        content = json.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BrokenMessage(f"body: {type(error).__name__}") from None
    match content:
        case [[str()], dict() as options, None | dict() as then] if not options:
            if any((then or {}).values()):
                raise BrokenMessage("body: names other tasks")
        case _:
            raise BrokenMessage("body: not the arguments of a task of ours")
