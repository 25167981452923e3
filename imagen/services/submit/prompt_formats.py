"""Refuses files in other formats, which could be misread as one prompt a line."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePath

from imagen.errors import RequestError

#: How much of a file's beginning is checked.
HEAD_BYTES = 64 * 1024

_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_SEPARATORS = {".tsv": "\t", ".csv": ","}
_DOCUMENTS = frozenset({".yaml", ".yml", ".toml", ".xml", ".html"})
_IMAGES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".svg"}
)
_BINARIES = frozenset({".xlsx", ".ods", ".docx", ".odt", ".pdf", ".parquet", ".zip", ".gz", ".db"})

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\x1f\x8b": "compressed with gzip",
    b"SQLite format 3\0": "a SQLite database",
    b"<?xml": "an XML document",
    b"<svg": "an SVG image",
    b"<!DOCTYPE": "an HTML document",
    b"<html": "an HTML document",
}
#: A prompt may contain line ends, and each would begin another prompt.
_ONE_LINE = r"""'.prompt | gsub("\n"; " ")'"""


def require_prompt_lines(source: str, head: bytes) -> None:
    """Return unless the name or the first bytes of a file show that it holds no prompt lines.

    ``source`` is a path, or ``-`` for standard input, which has no name to check.

    Raises:
        RequestError: it is a table, JSON, another document, or no text; the hint tells what to do.
    """
    label = "standard input" if source == "-" else source
    _require_text(source, label, head)
    first = _first_prompt(head)
    suffix = "" if source == "-" else PurePath(source).suffix.lower()
    if suffix == ".json":
        raise _json_refused(source)
    if suffix in _JSON_LINES or _is_row_of_json(first):
        command = f"jq -r {_ONE_LINE} {_file(source)}"
        raise _refused(label, "JSON lines", command, is_certain=_is_row_of_json(first))
    for ending, separator in _SEPARATORS.items():
        columns = [cell.strip().strip('"') for cell in first.split(separator)]
        column = next((name for name in columns if name.lower() == "prompt"), "")
        is_header = bool(column) and len(columns) > 1
        if suffix == ending or is_header:
            command = _table_command(_file(source), separator, column or "prompt")
            what = f"a table ({ending[1:].upper()})"
            raise _refused(label, what, command, is_certain=is_header)
    if suffix in _DOCUMENTS:
        raise _refused(label, f"a {suffix[1:].upper()} document", "")


def _require_text(source: str, label: str, head: bytes) -> None:
    suffix = PurePath(source).suffix.lower()
    if suffix in _IMAGES:
        raise RequestError(
            f"{label} is an image; a batch takes one prompt a line",
            f"what an image says about its prompt: imagen show {_file(source)}",
        )
    what = next((what for start, what in _SIGNATURES.items() if head.startswith(start)), "")
    if what or suffix in _BINARIES:
        raise RequestError(
            f"{label} is {what or 'no plain text'}; a batch takes one prompt a line",
            "save its prompts as plain text (UTF-8), one a line",
        )


def _json_refused(source: str) -> RequestError:
    """The error for a JSON document: a sidecar of imagen's, or another."""
    file = _file(source)
    if PurePath(source[: -len(".json")]).suffix.lower() in _IMAGES:
        return RequestError(
            f"{source} is the sidecar of one image; a batch takes one prompt a line",
            f'draw its prompt again: imagen generate "$(jq -r .prompt {file})"',
        )
    return _refused(source, "a JSON document", f"jq -r '.[]' {file}")


def _refused(label: str, what: str, command: str, *, is_certain: bool = False) -> RequestError:
    """The error for ``what``; ``command`` prints the prompts of such a file.

    ``is_certain``: its content shows it, so another file name would not help.
    """
    hints = [f"draw its prompts: {command} | imagen batch - --name NAME"] if command else []
    if label != "standard input" and not is_certain:
        hints.append("if it holds one prompt a line all the same, give it a name that ends in .txt")
    return RequestError(f"{label} is {what}; a batch takes one prompt a line", "\n".join(hints))


def _table_command(file: str, separator: str, column: str) -> str:
    delimiter = ", delimiter='\\t'" if separator == "\t" else ""
    code = (
        "import csv, sys; "
        f"[print(*row[{column!r}].split()) for row in csv.DictReader(sys.stdin{delimiter})]"
    )
    return f'python3 -c "{code}" < {file}'


def _file(source: str) -> str:
    return "FILE" if source == "-" else shlex.quote(source)


def _first_prompt(head: bytes) -> str:
    for raw in head.splitlines():
        line = raw.decode("utf-8-sig", "replace").strip()
        if line and not line.startswith("#"):
            return line
    return ""


def _is_row_of_json(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and "prompt" in {str(key).lower() for key in row}
