"""How a prompt ended, read from its entry in ``/history``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagen.backends.comfyui.server.error_text import shorten


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on the server: the triple that ``/view`` takes, exactly as given."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True, slots=True)
class PromptEnding:
    """How a prompt ended, and which images the output node saved.

    ``reason`` is one line for a failure: the node, the kind of error, its message.
    """

    kind: Literal["success", "interrupted", "out of memory", "disk full", "failed"]
    images: tuple[ImageFile, ...] = ()
    reason: str = ""


def read_ending(entry: Mapping[str, Any], output_node: str) -> PromptEnding:
    """How it ended, by the last status message.

    ``status_str`` is not enough: it is "error" for failures and interrupts alike (observed on
    ComfyUI 0.3.64).
    """
    status = entry.get("status")
    status = status if isinstance(status, Mapping) else {}
    name, data = _last_message(status.get("messages"))
    if name == "execution_interrupted":
        return PromptEnding("interrupted")
    if name == "execution_error":
        return _read_failure(data)
    if name == "execution_success" or status.get("status_str") == "success":
        return PromptEnding("success", _find_images(entry, output_node))
    return PromptEnding("failed", reason="it ended without saying how")


def graph_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The filled graph that was run; empty where the entry does not hold it."""
    item = entry.get("prompt")
    graph = item[2] if isinstance(item, list) and len(item) > 2 else None
    return graph if isinstance(graph, dict) else {}


def _last_message(messages: object) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], list):
        return "", {}
    name, *rest = messages[-1] or [""]
    return str(name), rest[0] if rest and isinstance(rest[0], Mapping) else {}


def _read_failure(data: Mapping[str, Any]) -> PromptEnding:
    kind = str(data.get("exception_type", "")).rpartition(".")[2]
    message = str(data.get("exception_message", "")).strip()
    first_line = message.splitlines()[0] if message else "no message"
    node = f"node {data.get('node_id')!r} ({data.get('node_type', 'unknown class')})"
    reason = shorten(f"{node}: {kind or 'error'}: {first_line}")
    if "OutOfMemory" in kind or "out of memory" in message.lower():
        return PromptEnding("out of memory", reason=reason)
    if "No space left on device" in message or "Disk quota exceeded" in message:
        return PromptEnding("disk full", reason=reason)
    return PromptEnding("failed", reason=reason)


def _find_images(entry: Mapping[str, Any], output_node: str) -> tuple[ImageFile, ...]:
    outputs = entry.get("outputs")
    of_node = outputs.get(output_node) if isinstance(outputs, Mapping) else None
    images = of_node.get("images") if isinstance(of_node, Mapping) else None
    return tuple(
        ImageFile(
            str(one["filename"]), str(one.get("subfolder", "")), str(one.get("type", "output"))
        )
        for one in (images if isinstance(images, list) else [])
        if isinstance(one, Mapping) and one.get("filename")
    )
