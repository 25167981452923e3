"""Whether a server can run a workflow: version, devices, node classes and model files."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from imagen.backends.comfyui.server.client import ComfyClient
from imagen.backends.comfyui.server.error_text import input_spec, list_names, offered_values
from imagen.backends.comfyui.workflow.graph import name_node
from imagen.backends.comfyui.workflow.workflow import Workflow
from imagen.domain.drawn import Health
from imagen.errors import BackendUnavailable

# Each timeout is for connecting and again for the answer; all together stays under 5 seconds.
_FIRST_TIMEOUT_S = 1.5
_LATER_TIMEOUT_S = 0.7
_BUDGET_S = 3.5
#: The oldest version this adapter was tested with; older ones may ignore our prompt ids.
_KNOWN_VERSION = (0, 3, 64)


def check_server(client: ComfyClient, workflow: Workflow) -> Health:
    """The server's version and devices, or why it cannot run the workflow; under 5 seconds.

    Raises:
        BackendUnavailable, CredentialError: no answer, none of ComfyUI's, or it is stuck.
    """
    deadline_s = time.monotonic() + _BUDGET_S
    stats = client.system_stats(timeout_s=_FIRST_TIMEOUT_S)
    client.raise_if_stuck(timeout_s=_LATER_TIMEOUT_S)
    for node_class in sorted({node["class_type"] for node in workflow.graph.values()}):
        if time.monotonic() >= deadline_s:
            raise BackendUnavailable(f"{client.who} answers too slowly", "is it busy loading?")
        info = client.object_info(node_class, timeout_s=_LATER_TIMEOUT_S)
        if trouble := _find_trouble(workflow, node_class, info):
            return trouble
    return Health("ok", _describe(stats), warnings=_warn(stats))


def _find_trouble(workflow: Workflow, node_class: str, info: Mapping[str, Any]) -> Health | None:
    if not info:
        return Health(
            "unreachable",
            f"it has no node class {node_class!r}, which workflow {workflow.name!r} uses",
            "update ComfyUI, or install the custom node",
        )
    for node_id, node in workflow.graph.items():
        if node["class_type"] != node_class:
            continue
        for name, value in node["inputs"].items():
            offered = offered_values(input_spec(info, name))
            if isinstance(value, str) and offered is not None and value not in offered:
                where = name_node(workflow.graph, node_id)
                return Health(
                    "unreachable",
                    f"{where}: {name} {value!r} is not on this server; it has: "
                    f"{list_names(offered)}",
                    "put the file where ComfyUI looks for it, or name another one",
                )
    return None


def _describe(stats: Mapping[str, Any]) -> str:
    devices = [_describe_device(device) for device in _devices(stats)]
    return ", ".join([f"ComfyUI {_version(stats)}", *devices])


def _describe_device(device: Mapping[str, Any]) -> str:
    # Such as "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync".
    name = re.sub(r"^\w+:\d+ | : \w+$", "", str(device.get("name", "unknown device")))
    free, total = device.get("vram_free"), device.get("vram_total")
    if not isinstance(free, (int, float)) or not isinstance(total, (int, float)):
        return name
    return f"{name} ({free / 2**30:.1f} of {total / 2**30:.1f} GiB free)"


def _warn(stats: Mapping[str, Any]) -> tuple[str, ...]:
    warnings = []
    numbers = re.findall(r"\d+", _version(stats))[:3]
    if numbers and tuple(int(number) for number in numbers) < _KNOWN_VERSION:
        known = ".".join(str(number) for number in _KNOWN_VERSION)
        warnings.append(f"ComfyUI {_version(stats)} is older than {known}; update it")
    if any(device.get("type") == "cpu" for device in _devices(stats)):
        warnings.append("ComfyUI runs on the CPU: a FLUX image takes many minutes")
    return tuple(warnings)


def _devices(stats: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    devices = stats.get("devices")
    return [one for one in devices if isinstance(one, Mapping)] if isinstance(devices, list) else []


def _version(stats: Mapping[str, Any]) -> str:
    return str(stats["system"].get("comfyui_version", "of unknown version"))
