"""The sidecar: a JSON file beside the image with everything needed to draw it again."""

from __future__ import annotations

import json
from typing import Any

from imagen.output.provenance import Provenance


def sidecar_name(image_name: str) -> str:
    """``fox.png.json`` for ``fox.png``: two formats of one picture keep two sidecars."""
    return f"{image_name}.json"


def build_sidecar(provenance: Provenance, *, file_name: str, sha256: str, size_bytes: int) -> bytes:
    """JSON in UTF-8, indented, with a newline at its end; the same for the same arguments.

    Always full, whatever ``output.metadata`` says of the image. ``sha256`` (hex) and
    ``size_bytes`` are of the image file as written.
    """
    record = provenance.full_record()
    details = record.pop("details")
    # The long part last, so that ``head`` shows the others.
    content: dict[str, Any] = {
        "schema_version": record.pop("schema_version"),
        "file": file_name,
        **record,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "details": details,
    }
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    # Lone surrogates, which UTF-8 cannot hold, become JSON's own escapes.
    return text.encode("utf-8", "backslashreplace")
