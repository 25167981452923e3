"""Refuses an option that would make the server open a file that the option's value names.

ComfyUI joins such a value to a folder of its own. 0.3.64 follows ``..`` and absolute paths out of
that folder, and the nodes that load images, sound and video check no list of choices (observed on
ComfyUI 0.3.64; 0.33.0 keeps to its folders).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.server.error_text import (
    TEXT_INPUTS,
    input_spec,
    list_names,
    offered_values,
)
from imagen.backends.comfyui.workflow.binding import NodeInput
from imagen.backends.comfyui.workflow.graph import Graph, is_link, name_node
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.backends.comfyui.server.client import ComfyClient
    from imagen.backends.comfyui.workflow.workflow import Workflow

_OBJECT_INFO_TIMEOUT_S = 2.5
_COMES = "input images are going to have an option of their own, --image"

# Classes whose names begin with Load and that load models say so in the input: *_name.
_LOADER = re.compile(r"^Load(?!er)|Load(?:Image|Mask|Audio|Video|Latent|3D)|Image Load")
_LOADED = frozenset(
    {"audio", "directory", "file", "file_path", "folder", "folder_name", "image", "image_path"}
    | {"latent", "mask", "model_file", "path", "video"}
)
# What opens files under names that give no hint.
_KNOWN = frozenset({("WebcamCapture", "image"), ("Painter", "mask"), ("Preview3D", "model_file")})
_SUFFIX = re.compile(
    r"\.(?:png|jpe?g|webp|gif|bmp|tiff?|avif|mp4|webm|mov|mkv|mp3|wav|flac|ogg|m4a|latent|glb|gltf"
    r"|obj|fbx|stl)$",
    re.IGNORECASE,
)
# Absolute, of a home folder, of a Windows drive, upwards, or with ComfyUI's own mark of a folder.
_PATH = re.compile(
    r"^(?:[/\\~]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)|\[(?:input|output|temp)\]$|\0"
)


def refuse_file(workflow: Workflow, option: str, text: str) -> None:
    """Return when the option's value names no file, as far as the graph alone tells. No I/O.

    Raises:
        RequestError: names the option and the node, and what will come instead.
    """
    for target in _reached(workflow, option):
        if _loads_a_file(workflow.graph, target):
            raise _file_error(workflow, option, target)
    if not isinstance(workflow.parse_option(option, text), str):
        return
    for target in workflow.bindings.inputs[option]:
        if target.input not in TEXT_INPUTS and _PATH.search(text):
            raise RequestError(
                f"option {option!r}, bound to {target.input!r} of "
                f"{name_node(workflow.graph, target.node)}, takes no path: {text!r}",
                "name it as the server lists it; " + _COMES,
            )


def refuse_unoffered(client: ComfyClient, workflow: Workflow, options: Mapping[str, str]) -> None:
    """Return when, by the server's ``/object_info``, no option opens a file or is no choice.

    One request for each node class that a text option is bound to.

    Raises:
        RequestError: an option's input loads a file, or its value is not among the choices.
        BackendUnavailable, CredentialError: no answer, or none of ComfyUI's.
    """
    for option, text in options.items():
        if not isinstance(workflow.parse_option(option, text), str):
            continue
        for target in workflow.bindings.inputs[option]:
            node_class = workflow.graph[target.node]["class_type"]
            info = client.object_info(node_class, timeout_s=_OBJECT_INFO_TIMEOUT_S)
            _check_spec(workflow, option, text, target=target, spec=input_spec(info, target.input))


def _check_spec(
    workflow: Workflow, option: str, text: str, *, target: NodeInput, spec: object
) -> None:
    if _is_file_spec(spec):
        raise _file_error(workflow, option, target)
    offered = offered_values(spec)
    if offered is None:
        return
    if any(_SUFFIX.search(name) for name in offered) and _SUFFIX.search(text):
        raise _file_error(workflow, option, target)
    if text not in offered:
        # The server does not check this for every node.
        raise RequestError(
            f"option {option!r}: {target.input} of {name_node(workflow.graph, target.node)} "
            f"does not take {text!r}",
            f"the server has: {list_names(offered)}",
        )


def _is_file_spec(spec: object) -> bool:
    """Whether ``/object_info`` describes an input that takes a file of the server.

    Such an input has ``image_upload``, ``video_upload`` or the like, a folder, or a list that is
    fetched from ``/internal/files`` (observed on ComfyUI 0.3.64 and 0.33.0).
    """
    config: Any = spec[1] if isinstance(spec, (list, tuple)) and len(spec) > 1 else None
    if not isinstance(config, Mapping):
        return False
    remote = config.get("remote")
    route = remote.get("route") if isinstance(remote, Mapping) else ""
    return (
        any(key.endswith("_upload") and value for key, value in config.items())
        or bool(config.get("image_folder"))
        or "/internal/files" in str(route)
    )


def _reached(workflow: Workflow, option: str) -> Iterator[NodeInput]:
    """The inputs that the option is bound to, and those that links carry its value on to."""
    targets = workflow.bindings.inputs.get(option, ())
    yield from targets
    nodes = [target.node for target in targets]
    seen = set(nodes)
    while nodes:
        source = nodes.pop()
        for node_id, node in workflow.graph.items():
            for name, value in node["inputs"].items():
                if is_link(value) and value and str(value[0]) == source:
                    yield NodeInput(node_id, name)
                    if node_id not in seen:
                        seen.add(node_id)
                        nodes.append(node_id)


def _loads_a_file(graph: Graph, target: NodeInput) -> bool:
    node = graph[target.node]
    if (node["class_type"], target.input) in _KNOWN:
        return True
    return target.input in _LOADED and bool(_LOADER.search(node["class_type"]))


def _file_error(workflow: Workflow, option: str, target: NodeInput) -> RequestError:
    return RequestError(
        f"option {option!r} is bound to {target.input!r} of "
        f"{name_node(workflow.graph, target.node)}, which loads a file of the server",
        "leave the file to the workflow; " + _COMES,
    )
