"""Loading a workflow: a built-in data file, or a JSON file that a user exported."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.backends.comfyui.workflow.binding import bind
from imagen.backends.comfyui.workflow.graph import check_graph
from imagen.backends.comfyui.workflow.workflow import FILE_NAMES, SIZE_STEP, Workflow
from imagen.errors import ConfigError

BUILT_IN = ("flux-schnell", "flux-dev", "flux-checkpoint", "smoke")


class WorkflowFile(BaseModel):
    """A graph with its bindings: the format of the built-in files, and of a user's copy of one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    about: str = ""
    good_steps: tuple[int, int] | None = None
    size_step: int = Field(default=SIZE_STEP, ge=1)
    exact_size: bool = False
    seed_modulo: int = Field(default=0, ge=0)
    bind: dict[str, str | list[str]]
    graph: dict[str, Any]


def load_workflow(settings: ComfyUISettings) -> Workflow:
    """The workflow that the settings name, with their model files set. Reads one file.

    Raises:
        ConfigError: there is no such workflow, or it cannot be used.
        FileNotFoundError: the user's file is not on this host.
    """
    name = settings.workflow
    if not is_built_in(settings):
        return _set_files(_read(_read_file(Path(name).expanduser()), settings), settings)
    if settings.bind:
        raise ConfigError(f"workflow {name!r} is built in and bound already", "take out bind:")
    text = resources.files(__package__).joinpath(f"workflows/{name}.json").read_text("utf-8")
    return _set_files(_read(text, settings), settings)


def is_built_in(settings: ComfyUISettings) -> bool:
    """Whether the workflow is a built-in; otherwise it is the path of a file.

    Raises:
        ConfigError: it is neither.
    """
    name = settings.workflow
    if name in BUILT_IN:
        return True
    if not name.endswith(".json") and "/" not in name:
        raise ConfigError(
            f"workflow {name!r} is neither built in nor the path of a .json file",
            f"built in: {', '.join(BUILT_IN)}",
        )
    return False


def _read_file(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigError(f"workflow {str(path)!r} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"workflow {str(path)!r} is not UTF-8 text") from exc


def _read(text: str, settings: ComfyUISettings) -> Workflow:
    name, where = settings.workflow, f"workflow {settings.workflow!r}"
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{where} is not JSON: {exc}") from exc
    if isinstance(data, dict) and "graph" in data and "bind" in data:
        return _unpack(data, name, where)
    graph = check_graph(data, where)
    return Workflow(name=name, graph=graph, bindings=bind(graph, settings.bind, where=where))


def _unpack(data: object, name: str, where: str) -> Workflow:
    try:
        file = WorkflowFile.model_validate(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key}: {first['msg']}") from exc
    graph = check_graph(file.graph, where)
    return Workflow(
        name=name,
        graph=graph,
        bindings=bind(graph, file.bind, where=where, required=()),
        **file.model_dump(exclude={"about", "bind", "graph"}),
    )


def _set_files(workflow: Workflow, settings: ComfyUISettings) -> Workflow:
    files = settings.files()
    for name in [*files, *settings.default_options()]:
        if not workflow.takes(name):
            known = sorted({*workflow.bindings.inputs} & FILE_NAMES)
            raise ConfigError(
                f"workflow {workflow.name!r} has no {name} to set",
                f"it has: {', '.join([*known, *workflow.options]) or 'none'}",
            )
    return dataclasses.replace(workflow, graph=workflow.fill(files))
