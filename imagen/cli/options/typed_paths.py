"""Paths as the user types them: made absolute, and checked before anything is drawn."""

from __future__ import annotations

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
    from imagen.services.submit.delivery_folders import require_writable

    path = absolute(text)
    # Checked again with its sidecar, once it is known whether there will be one.
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
