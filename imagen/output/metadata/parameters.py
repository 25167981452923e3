"""Generation parameters as text, in the form of A1111's web UI, which most tools read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def write_parameters(record: Mapping[str, Any]) -> str:
    """Prompt, "Negative prompt:" line, and one line of "Key: value, Key: value".

    Source: github.com/AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py: values
    that hold a comma, a colon or a line end are quoted as JSON strings.
    """
    lines = [str(record.get("drawn_prompt") or record.get("prompt") or "")]
    if record.get("negative"):
        lines.append(f"Negative prompt: {record['negative']}")
    facts = {
        "Steps": record.get("steps"),
        "Seed": record.get("seed"),
        "Size": f"{record['width']}x{record['height']}" if "width" in record else None,
        "Model": record.get("model"),
        "Version": f"imagen {record.get('imagen', '')}".strip(),
    }
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in facts.items() if value))
    return "\n".join(lines)


def _quote(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(",:\n") else text
