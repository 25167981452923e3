"""Running one prompt: its events in the observed order, its cache, its ways to end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.comfyui.device import Device, DeviceInterrupted, Speed
from tests.fakes.comfyui.disk import Disk
from tests.fakes.comfyui.faults import Faults
from tests.fakes.comfyui.nodes import NodeClass, encode_png
from tests.fakes.comfyui.records import Execution, Records
from tests.fakes.comfyui.validation import has_poison, upstream

Tell = Callable[[str, Mapping[str, Any], str | None], None]


class WorkerDied(Exception):
    """The prompt took the worker thread with it; it stays in ``queue_running`` for ever."""


class Vanished(Exception):
    """The prompt is gone without a trace."""


class NodeFailed(Exception):
    """A node raised; ``kind`` is the exception's type as the server names it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass
class Prompt:
    """A queued prompt. ``number`` decides the order, ties by id."""

    number: float
    prompt_id: str
    graph: dict[str, Any]
    extra_data: Any
    outputs: list[str]

    @property
    def client_id(self) -> str | None:
        return self.extra_data.get("client_id") if isinstance(self.extra_data, dict) else None

    def to_item(self) -> tuple[Any, ...]:
        return (self.number, self.prompt_id, self.graph, self.extra_data, self.outputs)


@dataclass
class Cache:
    """Results of the preceding prompt's nodes, by a fingerprint of all that went into them."""

    results: dict[str, Any] = field(default_factory=dict)


@dataclass
class PromptExecutor:
    """Runs prompts one after another on one device."""

    nodes: Mapping[str, NodeClass]
    device: Device
    disk: Disk
    faults: Faults
    records: Records
    speed: Speed
    tell: Tell
    cache: Cache = field(default_factory=Cache)

    def run(self, prompt: Prompt) -> dict[str, Any]:
        """The history entry. Blocks for as long as it draws.

        Raises:
            WorkerDied, Vanished, PoweredOff: there is no entry.
        """
        if prompt.extra_data is None or has_poison(prompt.graph):
            raise WorkerDied
        record = Execution(prompt.prompt_id, time.monotonic())
        self.records.executions.append(record)
        self.device.begin()
        try:
            entry = _Running(self, prompt, record).run()
        finally:
            record.ended_at_s = time.monotonic()
            record.end = record.end or "cut short"
        time.sleep(self.speed.history_lag_s)
        return entry


class _Running:
    def __init__(self, executor: PromptExecutor, prompt: Prompt, record: Execution) -> None:
        self.executor = executor
        self.prompt = prompt
        self.record = record
        self.results: dict[str, Any] = {}
        self.prints: dict[str, str] = {}
        self.outputs: dict[str, Any] = {}
        self.messages: list[list[Any]] = []
        self.states: dict[str, Any] = {}
        self.current = ""

    def run(self) -> dict[str, Any]:
        order = self._order()
        old = self.executor.cache.results
        self.prints = _fingerprints(self.prompt.graph, order)
        cached = [node_id for node_id in order if self.prints[node_id] in old]
        self.record.cached_nodes = tuple(cached)
        self._note("execution_start", {})
        self._note("execution_cached", {"nodes": cached})
        try:
            self._misbehave()
            for node_id in order:
                self.current = node_id
                self._run_node(node_id, old)
        except DeviceInterrupted:
            self.record.end = "interrupted"
            self._note("execution_interrupted", self._where())
        except NodeFailed as exc:
            self.record.end = exc.kind
            self._note("execution_error", self._where() | _describe_failure(exc, self.prompt))
        else:
            self.record.end = "success"
            self._note("execution_success", {})
        self.executor.cache.results = {
            self.prints[node_id]: self.results[node_id] for node_id in self.results
        }
        return self._entry()

    def _order(self) -> list[str]:
        order: list[str] = []
        for output in self.prompt.outputs:
            order += [one for one in upstream(self.prompt.graph, output) if one not in order]
        return order

    def _run_node(self, node_id: str, old: Mapping[str, Any]) -> None:
        node = self.prompt.graph[node_id]
        node_class = self.executor.nodes[node["class_type"]]
        if (fingerprint := self.prints[node_id]) in old:
            self.results[node_id] = old[fingerprint]
        else:
            self._show(node_id, "running", 0, 1)
            self._send("executing", {"node": node_id, "display_node": node_id})
            self.executor.device.work(0)
            self.results[node_id] = self._compute(node_id, node, node_class)
            self._show(node_id, "finished", 1, 1)
        if node_class.is_output:
            # A cached output node says so too, with its old file.
            output = {"images": [self.results[node_id]]}
            self.outputs[node_id] = output
            data = {"node": node_id, "display_node": node_id, "output": output}
            self._send("executed", data)

    def _compute(self, node_id: str, node: Mapping[str, Any], node_class: NodeClass) -> Any:
        inputs = {name: self._value(value) for name, value in node["inputs"].items()}
        if node_class.loads:
            self._load(inputs[node_class.loads])
        if node_class.is_output:
            if self.executor.faults.take("disk_full"):
                raise NodeFailed("OSError", "[Errno 28] No space left on device: '/srv/output/x'")
            data = encode_png(inputs["images"], self.prompt.graph)
            prefix = inputs.get("filename_prefix", "ComfyUI_temp_abcde")
            return self.executor.disk.save(prefix, data)
        if node_class.steps:
            self._sample(node_id, node_class.steps(inputs))
        return node_class.makes(inputs)

    def _value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        outputs = self.results[str(value[0])]
        return outputs[value[1]]

    def _load(self, model: str) -> None:
        device = self.executor.device
        if device.loaded.get("model") == model:
            return
        device.work(self.executor.speed.load_s)
        device.loaded["model"] = model
        self.executor.records.loads.append(model)
        self.record.loads = (*self.record.loads, model)

    def _sample(self, node_id: str, steps: int) -> None:
        for step in range(1, steps + 1):
            self.executor.device.work(self.executor.speed.draw_s / steps)
            self._send("progress", {"value": step, "max": steps, "node": node_id})
            self._show(node_id, "running", step, steps)

    def _misbehave(self) -> None:
        faults, device = self.executor.faults, self.executor.device
        self.current = next(iter(self.prompt.graph))
        if faults.take("hang"):
            raise WorkerDied
        if faults.take("vanish"):
            raise Vanished
        if faults.take("deaf_freeze"):
            device.takes_interrupts = False
            device.work(None)
        if faults.take("freeze"):
            device.work(None)
        if faults.take("interrupted"):
            raise DeviceInterrupted
        if faults.take("oom"):
            device.loaded.clear()
            raise NodeFailed(
                "torch.OutOfMemoryError",
                "Allocation on device \nThis error means you ran out of memory on your GPU.\n",
            )
        if fault := faults.take("error"):
            raise NodeFailed("RuntimeError", str(fault.values.get("message", "boom\n")))

    # Messages.

    def _where(self) -> dict[str, Any]:
        node_type = self.prompt.graph[self.current]["class_type"]
        return {"node_id": self.current, "node_type": node_type, "executed": list(self.results)}

    def _note(self, kind: str, data: dict[str, Any]) -> None:
        """A message that also stands in the history entry."""
        full = {**data, "prompt_id": self.prompt.prompt_id, "timestamp": int(time.time() * 1000)}
        self.messages.append([kind, full])
        is_broadcast = kind == "execution_interrupted" or self.prompt.client_id
        if is_broadcast:
            self.executor.tell(kind, full, self.prompt.client_id)

    def _send(self, kind: str, data: dict[str, Any]) -> None:
        # Without a client id only progress is sent, and to all sockets.
        if self.prompt.client_id or kind in ("progress", "progress_state"):
            full = {**data, "prompt_id": self.prompt.prompt_id}
            self.executor.tell(kind, full, self.prompt.client_id)

    def _show(self, node_id: str, state: str, value: float, most: float) -> None:
        self.states[node_id] = {
            "value": float(value),
            "max": float(most),
            "state": state,
            "node_id": node_id,
            "prompt_id": self.prompt.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._send("progress_state", {"nodes": dict(self.states)})

    def _entry(self) -> dict[str, Any]:
        is_success = self.record.end == "success"
        return {
            "prompt": list(self.prompt.to_item()),
            "outputs": self.outputs,
            "status": {
                "status_str": "success" if is_success else "error",
                "completed": is_success,
                "messages": self.messages,
            },
            "meta": {
                node_id: {
                    "node_id": node_id,
                    "display_node": node_id,
                    "parent_node": None,
                    "real_node_id": node_id,
                }
                for node_id in self.outputs
            },
        }


def _fingerprints(graph: Mapping[str, Any], order: list[str]) -> dict[str, str]:
    prints: dict[str, str] = {}
    for node_id in order:
        node = graph[node_id]
        inputs = {
            name: [prints.get(str(value[0])), value[1]] if isinstance(value, list) else value
            for name, value in node["inputs"].items()
        }
        prints[node_id] = json.dumps([node["class_type"], inputs], sort_keys=True)
    return prints


def _describe_failure(exc: NodeFailed, prompt: Prompt) -> dict[str, Any]:
    return {
        "exception_message": exc.message,
        "exception_type": exc.kind,
        "traceback": ['  File "/srv/comfyui/execution.py", line 1\n'],
        "current_inputs": {"graph": [json.dumps(prompt.graph)]},
        "current_outputs": [],
    }
