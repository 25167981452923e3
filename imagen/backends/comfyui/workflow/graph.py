"""Checks that JSON is a graph in ComfyUI's API format, before any of it reaches a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagen.errors import ConfigError

#: A graph in the API format: nodes by their id.
Graph = Mapping[str, Mapping[str, Any]]

EXPORT_HINT = "in ComfyUI export it with Workflow > Export (API), or Save (API Format)"


def check_graph(data: object, where: str) -> Graph:
    """``data`` itself, when each of its nodes has a class and inputs.

    A node whose ``inputs`` is missing, null or a list ends the server's worker thread while
    the server goes on answering (observed on ComfyUI 0.3.64), so such a graph is never sent.

    Raises:
        ConfigError: it is not a graph in the API format; names the node.
    """
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{where} holds no workflow", EXPORT_HINT)
    if isinstance(data.get("nodes"), list):
        raise ConfigError(f"{where} is in ComfyUI's UI format, which cannot be run", EXPORT_HINT)
    for node_id, node in data.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise ConfigError(f"{where}: node {node_id!r} has no class_type", EXPORT_HINT)
        if not isinstance(node.get("inputs"), dict):
            raise ConfigError(f"{where}: node {node_id!r} has no inputs object", EXPORT_HINT)
    return data


def title_of(node: Mapping[str, Any]) -> str:
    """The title a user gave the node in ComfyUI, or ""."""
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title if isinstance(title, str) else ""


def name_node(graph: Graph, node_id: str) -> str:
    """The node as messages name it: ``node '6' (CLIPTextEncode)``."""
    return f"node {node_id!r} ({graph[node_id]['class_type']})"


def is_link(value: object) -> bool:
    """Whether an input's value comes from another node instead of standing in the graph."""
    return isinstance(value, list)
