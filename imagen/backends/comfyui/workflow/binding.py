"""Which node inputs take the prompt, the seed and the rest, by ``bind`` or by the nodes' titles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagen.backends.comfyui.workflow.graph import Graph, is_link, name_node, title_of
from imagen.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NodeInput:
    """One input of one node."""

    node: str
    input: str


@dataclass(frozen=True, slots=True)
class Bindings:
    """The inputs of each bound name, and the node whose image is the result."""

    inputs: Mapping[str, tuple[NodeInput, ...]]
    output: str


OUTPUT = "output"

# The inputs that a node titled `imagen:<name>` may take the value by. A node with two of them is
# ambiguous: `bind` has to name one.
_INPUTS_BY_NAME: Mapping[str, tuple[str, ...]] = {
    "prompt": ("text", "prompt", "string", "value", "clip_l", "t5xxl", "text_g", "text_l"),
    "negative": ("text", "prompt", "negative", "string", "value"),
    "seed": ("seed", "noise_seed", "value"),
    "steps": ("steps", "value"),
    "width": ("width", "value"),
    "height": ("height", "value"),
    "guidance": ("guidance", "value"),
    "cfg": ("cfg", "value"),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "denoise": ("denoise", "value"),
    "model": ("unet_name", "model_name"),
    "checkpoint": ("ckpt_name",),
    "vae": ("vae_name",),
    "weight_dtype": ("weight_dtype",),
}
_TITLE_WORD = re.compile(r"imagen:([a-z_0-9]+)")
_REQUIRED = ("prompt", "seed")


def bind(
    graph: Graph,
    wanted: Mapping[str, str | Sequence[str]],
    *,
    where: str,
    required: Sequence[str] = _REQUIRED,
) -> Bindings:
    """The bindings that ``wanted`` names, and the others by the nodes' titles.

    Raises:
        ConfigError: something required is bound nowhere, or a binding is wrong or ambiguous;
            names the node.
    """
    inputs = _bind_by_title(graph, where, already=frozenset(wanted))
    for name, targets in wanted.items():
        if name != OUTPUT:
            texts = [targets] if isinstance(targets, str) else targets
            inputs[name] = tuple(_parse_target(graph, text, name, where) for text in texts)
    for name in required:
        if not inputs.get(name):
            raise ConfigError(
                f"{where}: nothing takes the {name}",
                f"title a node 'imagen:{name}' in ComfyUI, or say bind: {{{name}: NODE.INPUT}}",
            )
    return Bindings(inputs, _find_output(graph, wanted.get(OUTPUT), where))


def _bind_by_title(
    graph: Graph, where: str, *, already: frozenset[str]
) -> dict[str, tuple[NodeInput, ...]]:
    found: dict[str, tuple[NodeInput, ...]] = {}
    for node_id, node in graph.items():
        for word in _TITLE_WORD.findall(title_of(node)):
            for name in ("width", "height") if word == "size" else (word,):
                if name != OUTPUT and name not in already:
                    target = NodeInput(node_id, _guess_input(graph, node_id, name, where))
                    found[name] = (*found.get(name, ()), target)
    return found


def _guess_input(graph: Graph, node_id: str, name: str, where: str) -> str:
    inputs = graph[node_id]["inputs"]
    # Any other name is an option, bound to the input of the same name.
    known = _INPUTS_BY_NAME.get(name, (name, "value"))
    fitting = [key for key in known if key in inputs and not is_link(inputs[key])]
    if len(fitting) == 1:
        return fitting[0]
    node = f"{where}: {name_node(graph, node_id)}, titled for the {name},"
    hint = f"say which with bind: {{{name}: {node_id}.INPUT}}"
    if fitting:
        raise ConfigError(f"{node} is ambiguous: it has {', '.join(fitting)}", hint)
    literal = [key for key, value in inputs.items() if not is_link(value)]
    raise ConfigError(f"{node} has no input for it; it has: {', '.join(literal) or 'none'}", hint)


def _parse_target(graph: Graph, text: str, name: str, where: str) -> NodeInput:
    node_text, dot, input_name = text.rpartition(".")
    if not dot or not node_text or not input_name:
        raise ConfigError(f"{where}: bind: {name}: {text!r} is not NODE.INPUT", 'such as "6.text"')
    node_id = _find_node(graph, node_text, name, where)
    inputs = graph[node_id]["inputs"]
    if input_name not in inputs:
        raise ConfigError(
            f"{where}: bind: {name}: {name_node(graph, node_id)} has no input {input_name!r}",
            f"it has: {', '.join(inputs) or 'none'}",
        )
    if is_link(inputs[input_name]):
        raise ConfigError(
            f"{where}: bind: {name}: input {input_name!r} of {name_node(graph, node_id)} "
            f"comes from node {inputs[input_name][0]!r}",
            "bind that node's input instead",
        )
    return NodeInput(node_id, input_name)


def _find_node(graph: Graph, text: str, name: str, where: str) -> str:
    """The node with this id, or else the only one with this title."""
    if text in graph:
        return text
    titled = [node_id for node_id, node in graph.items() if title_of(node) == text]
    if len(titled) == 1:
        return titled[0]
    if titled:
        raise ConfigError(
            f"{where}: bind: {name}: the title {text!r} is ambiguous: nodes {', '.join(titled)}",
            "name the node by its id",
        )
    raise ConfigError(
        f"{where}: bind: {name}: no node {text!r}", f"it has the nodes: {', '.join(graph)}"
    )


def _find_output(graph: Graph, wanted: str | Sequence[str] | None, where: str) -> str:
    """The node whose image is the result: named, titled, or the only one that saves."""
    if wanted is not None:
        if not isinstance(wanted, str):
            raise ConfigError(f"{where}: bind: output: name one node, not a list")
        found = [_find_node(graph, wanted, OUTPUT, where)]
    else:
        found = [
            node_id
            for node_id, node in graph.items()
            if OUTPUT in _TITLE_WORD.findall(title_of(node))
        ] or [node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage"]
    if len(found) != 1:
        what = f"nodes {', '.join(found)} all save images" if found else "no node saves an image"
        raise ConfigError(
            f"{where}: {what}",
            "title one SaveImage node 'imagen:output', or say bind: {output: ID}",
        )
    if "filename_prefix" not in graph[found[0]]["inputs"]:
        # File names are used again (observed on ComfyUI 0.3.64): without a prefix of its own an
        # attempt could get another job's image.
        raise ConfigError(
            f"{where}: output {name_node(graph, found[0])} has no filename_prefix",
            "use a SaveImage node",
        )
    return found[0]
