"""What a prompt is doing while no step passes, in a few words for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from imagen.backends.comfyui.server.client import QueuedPrompt
from imagen.backends.comfyui.server.websocket import PromptEvent

#: The prompt ahead is named once it has been the first for this many seconds.
NAMED_AFTER_S = 60.0
_MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".bin")
_MAIN_INPUTS = ("unet_name", "ckpt_name")
_MODEL_LINKS = ("model", "guider")
_ID_CHARS = 8


class Phases:
    """The phase of one prompt, from its events and status; ``text`` is "" while steps pass."""

    def __init__(self, graph: Mapping[str, Any]) -> None:
        """``graph`` is the prompt as it was posted: it names the models."""
        self._graph = graph
        self._models = {node_id: name for node_id in graph if (name := _model(graph[node_id]))}
        self._loaded_main = ""
        self._has_stepped = False
        self._first_id = ""
        self._first_since = datetime.now(UTC)
        self.text = ""

    def queued(self, ahead: Sequence[QueuedPrompt]) -> None:
        """It waits in the server's queue behind these prompts, the one in execution first."""
        now = datetime.now(UTC)
        first_id = ahead[0].prompt_id if ahead else ""
        if first_id != self._first_id:
            self._first_id, self._first_since = first_id, now
        if not ahead:
            self.text = "waiting to start"
            return
        self.text = f"waiting behind {len(ahead)} other{'s' if len(ahead) > 1 else ''}"
        if (now - self._first_since).total_seconds() >= NAMED_AFTER_S:
            self.text += f", {_name_first(ahead)} since {self._first_since:%H:%M} UTC"

    def running(self, *, is_heard: bool) -> None:
        """It is in execution; ``is_heard`` when its events come here."""
        if not is_heard and not self._has_stepped:
            self.text = "running in ComfyUI"
        elif self._has_stepped or not self.text.startswith("loading"):
            # With everything loaded already the first step comes soon.
            self.text = ""

    def hear(self, event: PromptEvent) -> None:
        """One of its own events."""
        if event.kind != "alive":
            self._has_stepped = True
            self.text = ""
        elif not self._has_stepped:
            self._enter(event.node)

    def absent(self, since: datetime) -> None:
        """The server has not answered since then."""
        self.text = f"ComfyUI has not answered since {since:%H:%M} UTC"

    def _enter(self, node_id: str) -> None:
        inputs = self._graph[node_id]["inputs"] if node_id in self._graph else {}
        if node_id in self._models:
            if any(name in inputs for name in _MAIN_INPUTS):
                self._loaded_main = self._models[node_id]
            self.text = f"loading {self._models[node_id]}"
        elif self._loaded_main and any(name in inputs for name in _MODEL_LINKS):
            # Reading the file is only half of loading: the sampler moves the model to the GPU.
            self.text = f"loading {self._loaded_main}"
        else:
            self.running(is_heard=True)


def _name_first(ahead: Sequence[QueuedPrompt]) -> str:
    """The prompt that everything waits behind: ``first prompt 1f2e3d4c of another client``."""
    first = ahead[0]
    whose = "another imagen job" if first.is_imagen else "another client"
    return f"first prompt {first.prompt_id[:_ID_CHARS]} of {whose}"


def _model(node: Mapping[str, Any]) -> str:
    """The first model file that the node names, without its suffix; "" when it names none."""
    for value in node["inputs"].values():
        if isinstance(value, str) and value.lower().endswith(_MODEL_SUFFIXES):
            return value.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    return ""
