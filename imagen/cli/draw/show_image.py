"""``imagen show``: what an image file says about itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.standard import json_option
from imagen.cli.shell import Shell
from imagen.domain.printable import printable

if TYPE_CHECKING:
    from imagen.services.report.image_view import ImageView

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


@click.command(short_help="What an image file says about itself.")
@click.argument("file", metavar="FILE", type=click.Path())
@json_option
@click.pass_obj
def show(shell: Shell, file: str) -> None:
    """What the image in FILE says about itself: prompt, seed, model, job.

    Read from its own bytes alone; the sidecar beside it may know more. ComfyUI's and A1111's
    images are understood as well.
    """
    from imagen.cli.options.typed_paths import absolute
    from imagen.services.report.image_view import view_image

    view = view_image(absolute(file))
    if shell.wants_json:
        shell.screen.answer_json(view.to_json() | {"error": None})
        return
    for line in _lines(view):
        shell.screen.answer(line)
    if not view.record:
        shell.screen.say("it says nothing about how it was made")


def _lines(view: ImageView) -> list[str]:
    values: dict[str, Any] = {
        "file": view.path,
        "image": f"{view.format}, {view.width}x{view.height}, {view.size_bytes:,} bytes",
    }
    if view.source:
        values["written by"] = _WRITERS[view.source]
        values |= _readable(view)
    width = max(map(len, values))
    return [
        f"{name:<{width}}  {_shown(value, indent=width + 2)}"
        for name, value in values.items()
        if value not in (None, "", {}, [])
    ]


def _readable(view: ImageView) -> dict[str, Any]:
    """The record under the names of `imagen jobs show`, its long values last."""
    record = {name: value for name, value in view.record.items() if name not in _HIDDEN}
    if record.get("drawn_prompt") == record.get("prompt"):
        record.pop("drawn_prompt", None)
    if record.get("requested_size") == f"{view.width}x{view.height}":
        record.pop("requested_size", None)
    if isinstance(record.get("warnings"), list):
        record["warnings"] = "\n".join(map(str, record["warnings"]))
    if view.source == "imagen":
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
