"""A graph with its bindings, and how one request fills it. Pure: no files, no network."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagen.backends.comfyui.workflow.binding import Bindings
from imagen.backends.comfyui.workflow.graph import Graph
from imagen.errors import RequestError

#: FLUX works on patches of 16 pixels; ComfyUI itself rounds down to 8 without a warning
#: (observed on ComfyUI 0.3.64: 100x100 came back as 96x96).
SIZE_STEP = 16

#: Bound names that the settings fill with file names, not the request.
FILE_NAMES = frozenset({"model", "clip_t5", "clip_l", "vae", "checkpoint", "weight_dtype"})
_REQUEST_NAMES = frozenset({"prompt", "negative", "seed", "steps", "width", "height"})
_MODEL_INPUTS = ("unet_name", "ckpt_name")


@dataclass(frozen=True)
class Workflow:
    """A graph that can be filled.

    Attributes:
        graph: API format, with the configured model files.
        good_steps: fewest and most steps that the model is made for, where known.
        size_step: sides are multiples of this many pixels.
        exact_size: an image of another size than asked for is taken for broken.
        seed_modulo: the seed input takes values below this only; 0 is any seed.
    """

    name: str
    graph: Graph
    bindings: Bindings
    good_steps: tuple[int, int] | None = None
    size_step: int = SIZE_STEP
    exact_size: bool = False
    seed_modulo: int = 0

    def takes(self, name: str) -> bool:
        """Whether something in the graph is bound to ``name``."""
        return name in self.bindings.inputs

    @property
    def options(self) -> tuple[str, ...]:
        """What ``--opt`` may set, sorted."""
        return tuple(sorted(set(self.bindings.inputs) - _REQUEST_NAMES - FILE_NAMES))

    @property
    def sha256(self) -> str:
        """A fingerprint of the graph, in hex, for the sidecar."""
        return hashlib.sha256(json.dumps(self.graph, sort_keys=True).encode()).hexdigest()

    def value_of(self, name: str) -> Any:
        """The graph's own value where ``name`` is bound; None where it is bound nowhere."""
        targets = self.bindings.inputs.get(name)
        return self.graph[targets[0].node]["inputs"][targets[0].input] if targets else None

    def parse_option(self, name: str, text: str) -> Any:
        """``text`` as a value of the type that the graph has there.

        Raises:
            RequestError: there is no such option, or the text is not of that type.
        """
        if name not in self.options:
            raise RequestError(
                f"option {name!r} is not known to workflow {self.name!r}",
                f"it knows: {', '.join(self.options) or 'none'}",
            )
        return _parse_like(self.value_of(name), name, text)

    def fill(self, values: Mapping[str, Any], *, filename_prefix: str = "") -> dict[str, Any]:
        """A copy of the graph with ``values`` where they are bound; others are left out.

        ``filename_prefix`` is for the output node's files; "" leaves the graph's own.
        """
        graph = copy.deepcopy(dict(self.graph))
        for name, value in values.items():
            if name == "seed" and self.seed_modulo:
                value %= self.seed_modulo
            for target in self.bindings.inputs.get(name, ()):
                graph[target.node]["inputs"][target.input] = value
        if filename_prefix:
            graph[self.bindings.output]["inputs"]["filename_prefix"] = filename_prefix
        return graph


def models_in(graph: Mapping[str, Any]) -> str | None:
    """The model files that a graph names, joined with ``+``; None where it names none.

    The graph may come from a server and hold anything.
    """
    inputs = [node.get("inputs") for node in graph.values() if isinstance(node, dict)]
    found = {
        each[key]
        for each in inputs
        for key in _MODEL_INPUTS
        if isinstance(each, dict) and isinstance(each.get(key), str)
    }
    return "+".join(sorted(found)) or None


def _parse_like(sample: Any, name: str, text: str) -> Any:
    """``text`` as a value of the sample's type."""
    if isinstance(sample, bool):
        if text.lower() not in ("true", "false"):
            raise RequestError(f"option {name}: {text!r} is not true or false")
        return text.lower() == "true"
    if isinstance(sample, (int, float)):
        return _parse_number(name, text, example=sample)
    return text


def _parse_number(name: str, text: str, *, example: float) -> int | float:
    # An exported graph has 1 where the node takes 1.0, so both are tried.
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    raise RequestError(
        f"option {name}: {text!r} is not a number", f"for example: --opt {name}={example}"
    )
