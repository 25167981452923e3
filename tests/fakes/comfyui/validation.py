"""What the server finds wrong with a graph before it queues it, in the server's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.comfyui.nodes import NodeClass

_MAX_LISTED = 20


@dataclass
class GraphVerdict:
    """``error`` refuses everything; ``outputs`` are the output nodes that can be run."""

    error: dict[str, Any] | None = None
    node_errors: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


def validate_graph(
    graph: Mapping[str, Any], nodes: Mapping[str, NodeClass], *, version: str
) -> GraphVerdict:
    """Whether it can run. Bodies as observed on ComfyUI 0.3.64, and on 0.33.0 where it differs."""
    is_later = version != "0.3.64"
    for node_id, node in graph.items():
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        if class_type is None or class_type not in nodes:
            unknown = _unknown_class_later if is_later else _unknown_class
            return GraphVerdict(unknown(node_id, node, class_type))
    outputs = [node_id for node_id, node in graph.items() if nodes[node["class_type"]].is_output]
    if not outputs:
        return GraphVerdict(_error("prompt_no_outputs", "Prompt has no outputs", ""))
    verdict = GraphVerdict()
    for node_id in outputs:
        if _validate_output(graph, node_id, nodes, verdict.node_errors, is_later):
            verdict.outputs.append(node_id)
    if not verdict.outputs:
        verdict.error = _error(
            "prompt_outputs_failed_validation", "Prompt outputs failed validation", ""
        )
    return verdict


def has_poison(graph: Mapping[str, Any]) -> bool:
    """Whether a node would kill the worker thread, even one that nothing is connected to."""
    return any(not isinstance(node.get("inputs"), dict) for node in graph.values())


def upstream(graph: Mapping[str, Any], node_id: str) -> list[str]:
    """The nodes that ``node_id`` needs, in an order in which they can run, itself last."""
    ordered: list[str] = []

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in ordered or current in path or current not in graph:
            return
        inputs = graph[current].get("inputs")
        for value in inputs.values() if isinstance(inputs, dict) else ():
            if isinstance(value, list):
                visit(str(value[0]), (*path, current))
        ordered.append(current)

    visit(node_id, ())
    return ordered


def _unknown_class(node_id: str, _node: object, class_type: object) -> dict[str, Any]:
    what = (
        "a node is missing the class_type property"
        if class_type is None
        else f"node {class_type} does not exist"
    )
    return _error("invalid_prompt", f"Cannot execute because {what}.", f"Node ID '#{node_id}'")


def _unknown_class_later(node_id: str, node: object, class_type: object) -> dict[str, Any]:
    meta = node.get("_meta") if isinstance(node, Mapping) else None
    title = meta.get("title") if isinstance(meta, Mapping) else None
    message = (
        f"Node 'ID #{node_id}' has no class_type. The workflow may be corrupted or a custom node is"
        " missing."
        if class_type is None
        else f"Node '{title or class_type}' not found. The custom node may not be installed."
    )
    info = {"node_id": node_id, "class_type": class_type, "node_title": title}
    return _error("missing_node_type", message, f"Node ID '#{node_id}'") | {"extra_info": info}


def _find_strays(node: Mapping[str, Any], node_class: NodeClass) -> list[dict[str, Any]]:
    """Files outside the server's folders, which 0.3.64 takes from where they lie."""
    return [
        _error(
            "custom_validation_failed",
            "Custom validation failed for node",
            f"{name} - Invalid image file: {value}",
        )
        | {"extra_info": {"input_name": name}}
        for name, value in node["inputs"].items()
        if name in node_class.unchecked and (str(value).startswith("/") or ".." in str(value))
    ]


def _validate_output(
    graph: Mapping[str, Any],
    output: str,
    nodes: Mapping[str, NodeClass],
    node_errors: dict[str, Any],
    is_later: bool,
) -> bool:
    is_good = True
    for node_id in upstream(graph, output):
        errors = _find_errors(graph, node_id, nodes)
        if is_later:
            errors += _find_strays(graph[node_id], nodes[graph[node_id]["class_type"]])
        if errors:
            is_good = False
            class_type = graph[node_id]["class_type"]
            known = node_errors.setdefault(
                node_id, {"errors": errors, "dependent_outputs": [], "class_type": class_type}
            )
            known["dependent_outputs"].append(output)
    return is_good


def _find_errors(
    graph: Mapping[str, Any], node_id: str, nodes: Mapping[str, NodeClass]
) -> list[dict[str, Any]]:
    inputs = graph[node_id].get("inputs")
    if not isinstance(inputs, dict):
        return []
    errors = []
    node_class = nodes[graph[node_id]["class_type"]]
    for name, spec in node_class.required.items():
        if name not in inputs:
            errors.append(
                _error("required_input_missing", "Required input is missing", name)
                | {"extra_info": {"input_name": name}}
            )
        elif isinstance(inputs[name], list):
            errors += _check_link(graph, name, inputs[name], spec, nodes)
        elif name not in node_class.unchecked:
            errors += _check_value(name, inputs[name], spec)
    return errors


def _check_link(
    graph: Mapping[str, Any],
    name: str,
    link: list[Any],
    spec: list[Any],
    nodes: Mapping[str, NodeClass],
) -> list[dict[str, Any]]:
    source = graph.get(link[0]) if link and isinstance(link[0], str) else None
    if source is None or len(link) != 2:
        return [
            _error("exception_during_validation", "Exception when validating inner node", "")
            | {"extra_info": {"input_name": name, "traceback": ['  File "/srv/execution.py"']}}
        ]
    returned = nodes[source["class_type"]].returns
    kind = returned[link[1]] if link[1] < len(returned) else "*"
    if kind == spec[0] or isinstance(spec[0], list):
        return []
    return [
        _error(
            "return_type_mismatch",
            "Return type mismatch between linked nodes",
            f"{name}, received_type({kind}) mismatch input_type({spec[0]})",
        )
        | {"extra_info": {"input_name": name, "linked_node": link}}
    ]


def _check_value(name: str, value: Any, spec: list[Any]) -> list[dict[str, Any]]:
    if isinstance(spec[0], list):
        if value in spec[0]:
            return []
        is_long = len(spec[0]) > _MAX_LISTED
        listed = f"(list of length {len(spec[0])})" if is_long else str(spec[0])
        details = f"{name}: {value!r} not in {listed}"
        config = None if is_long else spec
        return [
            _value_error("value_not_in_list", "Value not in list", details, name, value, config)
        ]
    if spec[0] not in ("INT", "FLOAT"):
        return []
    try:
        number = int(value) if spec[0] == "INT" else float(value)
    except (TypeError, ValueError):
        message = f"Failed to convert an input value to a {spec[0]} value"
        return [_value_error("invalid_input_type", message, name, name, value, spec)]
    limits = spec[1] if len(spec) > 1 else {}
    if "min" in limits and number < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        return [_value_error("value_smaller_than_min", message, name, name, value, spec)]
    if "max" in limits and number > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        return [_value_error("value_bigger_than_max", message, name, name, value, spec)]
    return []


def _value_error(
    kind: str, message: str, details: str, name: str, value: Any, config: list[Any] | None
) -> dict[str, Any]:
    info = {"input_name": name, "input_config": config, "received_value": value}
    return _error(kind, message, details) | {"extra_info": info}


def _error(kind: str, message: str, details: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}
