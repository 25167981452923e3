"""ComfyUI's own error messages as one sentence, without prompts, paths or tracebacks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Node inputs that hold the user's text; no message quotes their values.
TEXT_INPUTS = frozenset({"text", "prompt", "string", "clip_l", "t5xxl", "text_g", "text_l"})
_MAX_CHARS = 300
_MAX_NAMES = 12


def explain_refusal(body: Mapping[str, Any]) -> str:
    """What was wrong with a graph, from the body of a 400, or of a 200 with ``node_errors``.

    Names node, input and value where the server did. Observed on ComfyUI 0.3.64.
    """
    node_errors = body.get("node_errors")
    sentences = []
    if isinstance(node_errors, Mapping):
        for node_id, report in node_errors.items():
            if isinstance(report, Mapping):
                sentences += _explain_node(str(node_id), report)
    if sentences:
        return shorten("; ".join(dict.fromkeys(sentences)))
    error = body.get("error")
    if isinstance(error, Mapping):
        if missing := _explain_missing_class(error):
            return shorten(missing)
        message, details = str(error.get("message", "")), str(error.get("details", ""))
        parts = [message.rstrip(".")] + ([details] if details and details != message else [])
        return shorten(": ".join(part for part in parts if part) or "it gives no reason")
    return shorten(str(error)) if error else "it gives no reason"


def _explain_missing_class(error: Mapping[str, Any]) -> str:
    """The sentence about a class that the server lacks; its own names the node's title only.

    Observed on ComfyUI 0.33.0; 0.3.64 names the class.
    """
    info = error.get("extra_info")
    if error.get("type") != "missing_node_type" or not isinstance(info, Mapping):
        return ""
    if not info.get("class_type"):
        return f"node {info.get('node_id')!r} has no class_type"
    return (
        f"node {info.get('node_id')!r} ({info['class_type']}): the server does not have this class;"
        " is its custom node installed?"
    )


def _explain_node(node_id: str, report: Mapping[str, Any]) -> list[str]:
    node = f"node {node_id!r} ({report.get('class_type', 'unknown class')})"
    errors = report.get("errors")
    found = [one for one in errors if isinstance(one, Mapping)] if isinstance(errors, list) else []
    return [f"{node}: {_explain_error(one)}" for one in found]


def _explain_error(error: Mapping[str, Any]) -> str:
    extra = error.get("extra_info")
    info: Mapping[str, Any] = extra if isinstance(extra, Mapping) else {}
    name, value = info.get("input_name"), info.get("received_value")
    if error.get("type") == "value_not_in_list" and name:
        return f"{name} {value!r} is not on this server; {_offer(info.get('input_config'))}"
    if error.get("type") == "required_input_missing" and name:
        return f"input {name!r} is missing"
    if error.get("type") == "exception_during_validation":
        return str(error.get("message", "validation failed"))  # The details are a traceback.
    message = str(error.get("message", "is wrong")).rstrip(".")
    if name in TEXT_INPUTS:
        return f"{name}: {message}"
    if name and value is not None:
        return f"{name} {value!r}: {message}{_bounds(info.get('input_config'))}"
    details = str(error.get("details", ""))
    return f"{message}: {details}" if details else message


def _offer(config: object) -> str:
    """What the server has instead; it does not list more than 20."""
    names = offered_values(config)
    if names is None:
        return "it has more than 20 others"
    return f"it has: {list_names(names)}"


def list_names(names: Sequence[str]) -> str:
    """Up to 12 of the names in one line, or ``none``."""
    return ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "") or "none"


def input_spec(info: Mapping[str, Any], name: str) -> object:
    """What ``/object_info`` says of one input of a node class, or None."""
    inputs = info.get("input")
    if not isinstance(inputs, Mapping):
        return None
    for kind in ("required", "optional"):
        specs = inputs.get(kind)
        if isinstance(specs, Mapping) and name in specs:
            return specs[name]
    return None


def offered_values(config: object) -> list[str] | None:
    """The choices of a node input as ``/object_info`` describes it, or None if it has none.

    Older servers have the list itself as the first item, newer ones ``COMBO`` and the list
    under ``options``.
    """
    if not isinstance(config, (list, tuple)) or not config:
        return None
    if isinstance(config[0], list):
        return [str(name) for name in config[0]]
    options = config[1].get("options") if len(config) > 1 and isinstance(config[1], dict) else None
    return [str(name) for name in options] if isinstance(options, list) else None


def _bounds(config: object) -> str:
    if not isinstance(config, list) or len(config) < 2 or not isinstance(config[1], Mapping):
        return ""
    limits = [f"{key} {config[1][key]}" for key in ("min", "max") if key in config[1]]
    return f" ({', '.join(limits)})" if limits else ""


def shorten(text: str) -> str:
    """One line of at most 300 characters, server paths reduced to the file's name."""
    line = re.sub(r"(?<![\w.:/])/(?:[^\s/'\"]+/)+", "…/", " ".join(text.split()))
    return line if len(line) <= _MAX_CHARS else line[: _MAX_CHARS - 1] + "…"


def without(text: str, *secrets: str) -> str:
    """``text`` with each of ``secrets`` replaced by an ellipsis where it stands as whole words."""
    for secret in secrets:
        if secret.strip():
            text = re.sub(rf"(?<!\w){re.escape(secret.strip())}(?!\w)", "…", text)
    return text
