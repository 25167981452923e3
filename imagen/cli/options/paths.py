"""Paths as a command's user gives them: made absolute, and looked at before anything is drawn."""

from __future__ import annotations

import os
from pathlib import Path

from imagen.errors import RequestError


def explicit_output(text: str) -> str:
    """The absolute path of ``--output``; "" where it is not given.

    Raises:
        RequestError: an image cannot be written there; the message says why.
    """
    if not text:
        return ""
    from imagen.output.paths import check_length, check_target

    path = absolute(text)
    # With its sidecar it is looked at again, once it is known whether there will be one.
    check_length(path, sidecar=False)
    if text.endswith("/") or path.is_dir():
        raise RequestError(
            f"--output {text!r} is a folder", f"name a file in it: {Path(text, 'image.png')}"
        )
    check_target(path, allowed_dirs=None)
    require_writable(path.parent)
    return str(path)


def absolute(text: str) -> Path:
    """The path seen from the working directory; symlinks and ``..`` stay."""
    return Path(text).expanduser().absolute()


def require_writable(folder: Path) -> None:
    """Nothing, where files can be put into the folder, or it can be made. Makes nothing.

    An image that costs money must not be drawn only to find that it has no place.

    Raises:
        RequestError: a file stands there, or the user may not write there.
    """
    from imagen.output.paths import check_length

    check_length(folder / "image.png", sidecar=True)
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise RequestError(
            f"cannot write to {folder}: {nearest} is a file", "choose another output folder"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(
            f"cannot write to {folder}: no permission in {nearest}",
            "make it writable, or choose another output folder",
        )
