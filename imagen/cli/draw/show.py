"""``imagen show``: what an image file knows about itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.options import json_option
from imagen.cli.shell import Shell
from imagen.domain.printable import printable

if TYPE_CHECKING:
    from imagen.services.report.inspect_image import Look

_WRITERS = {
    "imagen": "imagen",
    "comfyui": "ComfyUI",
    "a1111": "a program that writes A1111's parameters",
}
#: Shown last and apart: they are long.
_LONG = ("options", "details")
#: Three times the longest prompt; each line of it is indented.
_MOST_SHOWN_CHARS = 100_000
_HIDDEN = ("schema_version", "width", "height", "format")


@click.command(short_help="What an image file knows about itself.")
@click.argument("file", metavar="FILE", type=click.Path())
@json_option
@click.pass_obj
def show(shell: Shell, file: str) -> None:
    """What the image in FILE says about itself: prompt, seed, model, job.

    Read from its own bytes alone; the sidecar beside it may know more. ComfyUI's and A1111's
    images are understood as well.
    """
    from imagen.cli.options.paths import absolute
    from imagen.services.report.inspect_image import look_at

    look = look_at(absolute(file))
    if shell.wants_json:
        shell.screen.answer_json(_facts(look) | {"error": None})
        return
    for line in _lines(look):
        shell.screen.answer(line)
    if not look.record:
        shell.screen.say("it says nothing about how it was made")


def _facts(look: Look) -> dict[str, Any]:
    return {
        "file": str(look.path),
        "format": look.format,
        "width": look.width,
        "height": look.height,
        "size_bytes": look.size_bytes,
        "sha256": look.sha256,
        "source": look.source or None,
        "record": dict(look.record),
        "texts": dict(look.texts),
    }


def _lines(look: Look) -> list[str]:
    values: dict[str, Any] = {
        "file": look.path,
        "image": f"{look.format}, {look.width}x{look.height}, {look.size_bytes:,} bytes",
    }
    if look.source:
        values["written by"] = _WRITERS[look.source]
        values |= _readable(look)
    width = max(map(len, values))
    return [
        f"{name:<{width}}  {_shown(value, indent=width + 2)}"
        for name, value in values.items()
        if value not in (None, "", {}, [])
    ]


def _readable(look: Look) -> dict[str, Any]:
    """The record with the names of `imagen jobs show`, what is long at its end."""
    record = {name: value for name, value in look.record.items() if name not in _HIDDEN}
    if record.get("drawn_prompt") == record.get("prompt"):
        record.pop("drawn_prompt", None)
    if record.get("requested_size") == f"{look.width}x{look.height}":
        record.pop("requested_size", None)
    if isinstance(record.get("warnings"), list):
        record["warnings"] = "\n".join(map(str, record["warnings"]))
    if look.source == "imagen":
        record["written by"] = f"imagen {record.pop('imagen', '')}".strip()
    long = {name: record.pop(name) for name in _LONG if name in record}
    return {name.replace("_", " "): value for name, value in (record | long).items()}


def _shown(value: object, *, indent: int) -> str:
    is_nested = isinstance(value, dict | list)
    text = json.dumps(value, ensure_ascii=False) if is_nested else str(value)
    if len(text) > _MOST_SHOWN_CHARS:
        more = len(text) - _MOST_SHOWN_CHARS
        text = f"{text[:_MOST_SHOWN_CHARS]} … and {more:,} more characters (all of them: --json)"
    return printable(text).replace("\n", "\n" + " " * indent)
