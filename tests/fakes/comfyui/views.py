"""What can be read from the fake: one function an endpoint."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.fakes.comfyui.nodes import describe, encode_png
from tests.fakes.comfyui.sockets import ListeningSocket

if TYPE_CHECKING:
    from tests.fakes.comfyui.web import ComfyUIHandler

_GIB = 2**30
FEATURES: Mapping[str, Any] = MappingProxyType(
    {"supports_preview_metadata": True, "max_upload_size": 104857600}
)
NO_PROMPT: Mapping[str, Any] = {
    "error": {
        "type": "no_prompt",
        "message": "No prompt provided",
        "details": "No prompt provided",
        "extra_info": {},
    },
    "node_errors": {},
}


def make_getters(handler: ComfyUIHandler) -> dict[str, Callable[[], None]]:
    """Who answers which GET; ``/x/*`` is for everything under ``/x/``."""
    fake, engine = handler.fake, handler.engine
    return {
        "/system_stats": lambda: handler.send_json(_stats(fake.version)),
        "/features": lambda: handler.send_json(dict(FEATURES)),
        "/prompt": lambda: handler.send_json(engine.status()["status"]),
        "/queue": lambda: handler.send_json(engine.queue()),
        "/history": lambda: handler.send_json(engine.history()),
        "/history/*": lambda: handler.send_json(engine.history(_rest(handler))),
        "/object_info": lambda: handler.send_json(
            {name: describe(name, node) for name, node in fake.nodes.items()}
        ),
        "/object_info/*": lambda: _send_class(handler),
        "/models": lambda: handler.send_json(sorted(fake.models)),
        "/models/*": lambda: _send_models(handler),
        "/view": lambda: _send_image(handler),
        "/_fake/*": lambda: handler.send_json(fake.records.to_json()),
    }


def answer_message(listener: ListeningSocket, payload: bytes) -> None:
    """A client's first message may say what it understands."""
    if json.loads(payload).get("type") == "feature_flags":
        listener.send({"type": "feature_flags", "data": dict(FEATURES)})


def _rest(handler: ComfyUIHandler) -> str:
    return handler.route.split("/", 2)[2]


def _stats(version: str) -> dict[str, Any]:
    device = {
        "name": "cuda:0 Fake GPU : native",
        "type": "cuda",
        "index": 0,
        "vram_total": 24 * _GIB,
        "vram_free": 20 * _GIB,
        "torch_vram_total": 0,
        "torch_vram_free": 0,
    }
    system = {
        "os": "posix",
        "ram_total": 64 * _GIB,
        "ram_free": 32 * _GIB,
        "comfyui_version": version,
        "python_version": "3.11.7",
        "pytorch_version": "2.13.0",
        "embedded_python": False,
        "argv": ["main.py"],
    }
    return {"system": system, "devices": [device]}


def _send_class(handler: ComfyUIHandler) -> None:
    name = _rest(handler)
    node = handler.fake.nodes.get(name)
    handler.send_json({name: describe(name, node)} if node else {})


def _send_models(handler: ComfyUIHandler) -> None:
    names = handler.fake.models.get(_rest(handler))
    if names is None:
        handler.send(404)
    else:
        handler.send_json(list(names))


def _send_image(handler: ComfyUIHandler) -> None:
    query, faults = handler.query, handler.fake.faults
    kind, subfolder = query.get("type", "output"), query.get("subfolder", "")
    filename = query.get("filename", "")
    if kind not in ("output", "temp", "input") or ".." in filename or not filename:
        return handler.send(400)
    if ".." in subfolder:
        return handler.send(403)
    data = handler.fake.disk.read(kind, subfolder, filename)
    if data is None or faults.take("view_missing"):
        return handler.send(404)
    if faults.take("view_wrong_size"):
        data = encode_png(Image.new("RGB", (8, 8)), {})
    if query.get("channel") == "rgb":
        data = _without_text(data)
    if faults.take("view_damaged"):
        middle = len(data) // 2
        data = (
            data[:middle]
            + bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
            + data[middle + 8 :]
        )
    if faults.take("view_truncated"):
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.close_connection = True
        return None
    return handler.send(200, data, "image/png")


def _without_text(data: bytes) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").save(file, "PNG")
    return file.getvalue()
