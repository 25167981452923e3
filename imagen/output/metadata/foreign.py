"""Metadata that other programs write: A1111's parameters and ComfyUI's graphs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from imagen.images.verify import ImageFormat, sniff_format
from imagen.output.metadata import jpeg_texts, png_texts, webp_texts
from imagen.output.metadata.exif import read_exif

_USER_COMMENT = 0x9286
_DESCRIPTION, _MAKE, _MODEL = 0x010E, 0x010F, 0x0110
_PARAMETER = re.compile(
    r'\s*([\w ./-]{1,100}+):\s*+("(?:\\.|[^"\\])*+"(?=\s*(?:,|$))|[^,]*+)\s*(?:,|$)'
)
#: Parsed, each character can become an object of a hundred bytes.
_MAX_GRAPH_CHARS = 4 * 1024 * 1024
_MAX_FACTS_CHARS = 256 * 1024
_PARAMETERS_LINE = re.compile(r"^Steps: \d+", re.MULTILINE)
_MOST_STEPS = 20
_NAMES = ("parameters", "prompt", "workflow")
_FIND_EXIF: Mapping[ImageFormat, Callable[[bytes], bytes]] = {
    "png": png_texts.find_exif,
    "jpeg": jpeg_texts.find_exif,
    "webp": webp_texts.find_exif,
}
# Inputs of ComfyUI's nodes, and their keys in a record of imagen.
_FACTS = {
    "seed": "seed",
    "noise_seed": "seed",
    "steps": "steps",
    "ckpt_name": "model",
    "unet_name": "model",
}
# Makes an empty conditioning, whatever text leads into it.
_ZERO_OUT = "ConditioningZeroOut"


def read_texts(data: bytes) -> dict[str, str]:
    """The texts that generators write into images, by name.

    ``parameters`` (A1111 and programs of the same form), ``prompt`` and ``workflow`` (ComfyUI,
    JSON). Neither the bytes nor the texts can be trusted.

    Raises:
        BrokenImage: not an image, or cut off before its texts end.
    """
    image_format = sniff_format(data)
    found = png_texts.find_named(data, _NAMES) if image_format == "png" else {}
    return {**_exif_texts(_FIND_EXIF[image_format](data)), **found}


def parse_parameters(text: str) -> dict[str, Any]:
    """``prompt``, ``negative`` and the named values of a text in A1111's form.

    Source: github.com/AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py.
    """
    begin = max((match.start() for match in _PARAMETERS_LINE.finditer(text)), default=len(text))
    prose, facts = text[:begin], text[begin : begin + _MAX_FACTS_CHARS]
    prompt, _, negative = prose.partition("Negative prompt:")
    values = {name: _unquoted(value) for name, value in _pairs(facts)}
    found = {"prompt": prompt.strip(), "negative": negative.strip(), **values}
    return {name: value for name, value in found.items() if value}


def _pairs(facts: str) -> Iterator[tuple[str, str]]:
    """``Key: value`` pairs between commas; anything else is skipped."""
    position = 0
    while position < len(facts):
        match = _PARAMETER.match(facts, position)
        if match:
            yield match[1].strip(), match[2].strip()
        # A search from every character would take quadratic time.
        position = match.end() if match else facts.find(",", position) + 1 or len(facts)


def parse_graph(text: str) -> dict[str, Any]:
    """What ComfyUI's sampler was given: ``prompt``, ``negative``, ``seed``, ``steps``, ``model``.

    Empty where the text is no graph of nodes, or has no node that looks like a sampler.
    """
    if len(text) > _MAX_GRAPH_CHARS:
        return {}
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(graph, dict):
        return {}
    nodes = {key: node for key, node in graph.items() if _inputs(node)}
    found: dict[str, Any] = {}
    for node in nodes.values():
        for name, value in _inputs(node).items():
            key = _FACTS.get(name)
            if key and isinstance(value, int | str):
                found.setdefault(key, value)
    # A guider has one conditioning, a sampler both; a negative one leads through others, too.
    prompt = _first_words(nodes, "positive") or _first_words(nodes, "conditioning")
    negative = _first_words(nodes, "negative")
    if negative == prompt:
        # One text feeds both where guidance is 1 and there is no negative prompt.
        negative = ""
    words = {"prompt": prompt, "negative": negative}
    return found | {name: text for name, text in words.items() if text}


def graphs_in(data: bytes) -> dict[str, str]:
    """ComfyUI's texts in an image, by name: ``prompt`` and ``workflow``, where they are JSON.

    Raises:
        BrokenImage: not an image, or cut off before its texts end.
    """
    texts = read_texts(data)
    return {
        name: texts[name] for name in ("prompt", "workflow") if texts.get(name, "").startswith("{")
    }


def _inputs(node: object) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _first_words(nodes: Mapping[str, Any], name: str) -> str:
    """The words that come into the first node which has any at its input ``name``."""
    links = (_inputs(node)[name] for node in nodes.values() if name in _inputs(node))
    return next(filter(None, (_follow(nodes, link) for link in links)), "")


def _follow(nodes: Mapping[str, Any], link: object) -> str:
    """The words at the end of a link, which may lead through other nodes; "" for none."""
    for _ in range(_MOST_STEPS):
        if not isinstance(link, list) or not link or str(link[0]) not in nodes:
            return ""
        node = nodes[str(link[0])]
        if node.get("class_type") == _ZERO_OUT:
            return ""
        inputs = _inputs(node)
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


def _exif_texts(block: bytes) -> dict[str, str]:
    tags = read_exif(block, (_USER_COMMENT, _DESCRIPTION, _MAKE, _MODEL))
    found: dict[str, str] = {}
    for tag in (_DESCRIPTION, _MAKE, _MODEL):
        # ComfyUI's nodes for WebP write "prompt:{…}" and "workflow:{…}" into the camera's name.
        name, colon, text = _decoded(tags.get(tag, b"")).partition(":")
        if colon and name.lower() in ("prompt", "workflow"):
            found[name.lower()] = text
    if words := _comment(tags.get(_USER_COMMENT, b"")):
        found["parameters"] = words
    return found


def _decoded(value: bytes) -> str:
    value = value.rstrip(b"\0")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _comment(value: bytes) -> str:
    """A UserComment's text, behind the eight bytes that say how it is written."""
    code, body = value[:8].rstrip(b"\0"), value[8:]
    if code == b"UNICODE":
        # Big-endian by the block's own order, which not every writer keeps.
        zeros = (body[0:200:2].count(0), body[1:200:2].count(0))
        return body.decode("utf-16-be" if zeros[0] >= zeros[1] else "utf-16-le", "replace").strip(
            "\0 "
        )
    return (body if code in (b"ASCII", b"") else value).decode(errors="replace").strip("\0 ")
