"""The view of an image file: what its own bytes say, written by imagen or another generator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagen.errors import RequestError
from imagen.images.broken import BrokenImage
from imagen.images.verify import read_header
from imagen.output import metadata
from imagen.output.metadata.foreign import parse_graph, parse_parameters, read_texts

#: Images of other programs may be larger than those of imagen; the file is read into memory.
_MAX_FILE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image file; ``record`` is empty where the file does not say how it was made.

    Attributes:
        source: the program that wrote the record: ``imagen``, ``comfyui``, ``a1111`` (a form that
            other programs write, too), or "".
        texts: the unparsed texts of ComfyUI and A1111, by name.
    """

    path: Path
    format: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    source: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "file": str(self.path),
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "source": self.source or None,
            "record": dict(self.record),
            "texts": dict(self.texts),
        }


def view_image(path: Path) -> ImageView:
    """What the image at ``path`` says about itself. No pixel is decoded.

    Raises:
        RequestError: it cannot be read, or is not an image, or is cut off.
    """
    data = _read(path)
    try:
        info = read_header(data)
        texts = read_texts(data)
    except BrokenImage as error:
        raise RequestError(f"{path}: {error}", "name a PNG, JPEG or WebP file") from None
    source, record = _record(data, texts)
    return ImageView(
        path=path,
        format=info.format,
        width=info.width,
        height=info.height,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        source=source,
        record=record,
        texts={name: texts[name] for name in ("parameters", "prompt", "workflow") if name in texts},
    )


def _record(data: bytes, texts: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
    ours = metadata.read(data)
    if ours is not None:
        return "imagen", ours
    if graph := parse_graph(texts.get("prompt", "")):
        return "comfyui", graph
    if parameters := parse_parameters(texts.get("parameters", "")):
        return "a1111", parameters
    return "", {}


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise RequestError(f"{path} is a folder", "name an image file")
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"{path} is not a regular file", "name an image file")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > _MAX_FILE_BYTES:
                raise RequestError(
                    f"{path} is larger than {_MAX_FILE_BYTES // 2**20} MiB",
                    "name an image file; larger ones are not read",
                )
            data = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist", "name an image file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a possible name"
        raise RequestError(f"{path} cannot be read: {reason}", "see its permissions") from None
    return data
