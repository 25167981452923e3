"""File names from prompts and templates: readable, and safe for any prompt."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from anyascii import anyascii

from imagen.domain.request import FORMAT_BY_SUFFIX

#: Longest file name we make, in bytes: file systems allow 255, and "-2", "-3" … or the sidecar's
#: ".json" may still be added.
MAX_NAME_BYTES = 240

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_NOT_IN_SLUG = re.compile("[^a-z0-9]+")
# Names that Windows reserves for devices: files with them cannot be copied there.
_RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
_FALLBACK = "image"
# Where a name's extension is not known yet.
_OPEN_SUFFIX = ".{ext}"


def slugify(text: str, *, max_chars: int = 40) -> str:
    """Lower-case ASCII words joined by hyphens, at most ``max_chars`` long, never empty.

    Other scripts are transliterated. Cut between words where that keeps half of the length.
    """
    ascii_text = anyascii(text).lower().replace("'", "")
    slug = _NOT_IN_SLUG.sub("-", ascii_text).strip("-")
    if len(slug) > max_chars:
        cut = slug[:max_chars]
        at_word = cut if slug[max_chars] == "-" else cut.rpartition("-")[0]
        slug = (at_word if len(at_word) * 2 >= max_chars else cut).strip("-")
    if _RESERVED.fullmatch(slug):
        slug = f"{slug}-{_FALLBACK}"[:max_chars]
    return slug or _FALLBACK[:max_chars]


def render_name(template: str, values: Mapping[str, object]) -> str:
    """The relative path that ``template`` names, its placeholders filled in from ``values``.

    A placeholder is ``{name}``; one that ``values`` lacks stays as it is, as do all other
    braces. "/" makes folders in the template, but not in a value. Control characters, leading
    dots and ".." are removed from values; empty folder names, "." and ".." are left out of the
    path, so that it never leads upwards.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return _clean(str(values[name])) if name in values else match[0]

    path = _PLACEHOLDER.sub(fill, unicodedata.normalize("NFC", template))
    segments = [_shorten(segment.strip()) for segment in path.split("/")]
    segments = [segment for segment in segments if segment not in ("", ".", "..")]
    return "/".join(segments) or _FALLBACK


def numbered(name: str, n: int) -> str:
    """``name`` for its ``n``-th use: itself for 1, ``fox-2.png`` for ``fox.png`` and 2."""
    if n < 2:
        return name
    stem, suffix = split_suffix(name)
    return f"{stem}-{n}{suffix}"


def split_suffix(name: str) -> tuple[str, str]:
    """The name without and with only its image suffix, which may still be ``.{ext}``, or "".

    Dots that are part of a name ("f1.8 portrait") are no suffix.
    """
    if name.endswith(_OPEN_SUFFIX):
        return name.removesuffix(_OPEN_SUFFIX), _OPEN_SUFFIX
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in FORMAT_BY_SUFFIX:
        return name[: -len(suffix)], suffix
    return name, ""


def _clean(value: str) -> str:
    """The value without anything that could not be part of one file name."""
    printable = "".join(
        "-" if character in "/\\" else character
        for character in unicodedata.normalize("NFC", value)
        # Cc: control characters; Cf: invisible ones, which can turn "gnp.exe" around; Cs: lone
        # surrogates; Zl, Zp: line ends.
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
    return re.sub(r"\.{2,}", ".", printable).lstrip(" .-").rstrip()


def _shorten(segment: str) -> str:
    """The segment in at most MAX_NAME_BYTES bytes of UTF-8, its image suffix kept."""
    if len(segment.encode()) <= MAX_NAME_BYTES:
        return segment
    stem, suffix = split_suffix(segment)
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .-") + suffix
