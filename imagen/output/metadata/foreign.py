"""What images of other programs say about themselves: A1111's parameters and ComfyUI's graphs."""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image

from imagen.images.verify import ImageFormat, sniff_format
from imagen.output.metadata import png_texts

_EXIF_POINTER, _USER_COMMENT = 0x8769, 0x9286
_DESCRIPTION, _MAKE, _MODEL = 0x010E, 0x010F, 0x0110
# Pillow on an EXIF block of somebody else's making.
_EXIF_ERRORS = (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error)
_PARAMETER = re.compile(r'\s*([\w ./-]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_PARAMETERS_LINE = re.compile(r"^Steps: \d+", re.MULTILINE)
_MOST_STEPS = 20
# Inputs of ComfyUI's nodes, and what they are in a record of ours.
_FACTS = {
    "seed": "seed",
    "noise_seed": "seed",
    "steps": "steps",
    "ckpt_name": "model",
    "unet_name": "model",
}
_WORDS = {"positive": "prompt", "conditioning": "prompt", "negative": "negative"}


def read_texts(data: bytes) -> dict[str, str]:
    """The texts that generators leave in images, by the name of their place.

    ``parameters`` (A1111 and those who follow it), ``prompt`` and ``workflow`` (ComfyUI, JSON).
    The bytes are not trusted, and neither should the texts be.

    Raises:
        BrokenImage: not an image, or cut off before its texts end.
    """
    image_format = sniff_format(data)
    found = png_texts.find_all(data) if image_format == "png" else {}
    return {**_exif_texts(data, image_format), **found}


def parse_parameters(text: str) -> dict[str, Any]:
    """``prompt``, ``negative`` and the named values of a text in A1111's form.

    Source: github.com/AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py.
    """
    begins = [match.start() for match in _PARAMETERS_LINE.finditer(text)]
    prose, facts = (text[: begins[-1]], text[begins[-1] :]) if begins else (text, "")
    prompt, _, negative = prose.partition("Negative prompt:")
    values = {match[1].strip(): _unquoted(match[2].strip()) for match in _PARAMETER.finditer(facts)}
    found = {"prompt": prompt.strip(), "negative": negative.strip(), **values}
    return {name: value for name, value in found.items() if value}


def parse_graph(text: str) -> dict[str, Any]:
    """What ComfyUI's sampler was given: ``prompt``, ``negative``, ``seed``, ``steps``, ``model``.

    Empty where the text is no graph of nodes, or has no node that looks like a sampler.
    """
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(graph, dict):
        return {}
    nodes = {key: _inputs(node) for key, node in graph.items() if _inputs(node)}
    found: dict[str, Any] = {}
    for inputs in nodes.values():
        for name, value in inputs.items():
            key = _FACTS.get(name)
            if key and isinstance(value, int | str):
                found.setdefault(key, value)
            if name in _WORDS and (words := _follow(nodes, value)):
                found.setdefault(_WORDS[name], words)
    return found


def _inputs(node: object) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _follow(nodes: Mapping[str, Mapping[str, Any]], link: object) -> str:
    """The words at the end of a link, which may lead through other nodes; "" for none."""
    for _ in range(_MOST_STEPS):
        if not isinstance(link, list) or not link or str(link[0]) not in nodes:
            return ""
        inputs = nodes[str(link[0])]
        words = next((inputs[k] for k in ("text", "t5xxl") if isinstance(inputs.get(k), str)), "")
        if words:
            return str(words)
        link = inputs.get("text") or inputs.get("conditioning")
    return ""


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value
    except ValueError:
        return value


def _exif_texts(data: bytes, image_format: ImageFormat) -> dict[str, str]:
    try:
        with warnings.catch_warnings():
            # About tags that nobody here reads.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[image_format.upper()]) as image:
                exif = image.getexif()
                comment = exif.get_ifd(_EXIF_POINTER).get(_USER_COMMENT)
                tags = [exif.get(tag) for tag in (_DESCRIPTION, _MAKE, _MODEL)]
    except (*_EXIF_ERRORS, Image.DecompressionBombError):
        return {}
    found: dict[str, str] = {}
    for tag in tags:
        # ComfyUI's savers for WebP put "prompt:{…}" and "workflow:{…}" where a camera's name goes.
        name, colon, text = str(tag or "").partition(":")
        if colon and name.lower() in ("prompt", "workflow"):
            found[name.lower()] = text
    if words := _comment(comment):
        found["parameters"] = words
    return found


def _comment(value: object) -> str:
    """A UserComment's text, behind the eight bytes that say how it is written."""
    if not isinstance(value, bytes):
        return str(value or "").strip("\0 ")
    code, body = value[:8].rstrip(b"\0"), value[8:]
    if code == b"UNICODE":
        # Big-endian by the block's own order, which not every writer keeps.
        zeros = (body[0:200:2].count(0), body[1:200:2].count(0))
        return body.decode("utf-16-be" if zeros[0] >= zeros[1] else "utf-16-le", "replace").strip(
            "\0 "
        )
    return (body if code in (b"ASCII", b"") else value).decode(errors="replace").strip("\0 ")
