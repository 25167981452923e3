"""ComfyUI's endpoints, one method each; the server's behaviour is as observed on 0.3.64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from urllib.parse import quote

from imagen.backends.comfyui.server.error_text import explain_refusal
from imagen.backends.comfyui.server.history_entry import ImageFile
from imagen.backends.comfyui.server.http_transport import Transport, json_object
from imagen.errors import BackendRejected, BackendStuck
from imagen.http.exchange import Limits


@dataclass(frozen=True, slots=True)
class QueuedPrompt:
    """A prompt in the server's queue; ``is_imagen`` when imagen posted it, on any host."""

    prompt_id: str
    is_imagen: bool


@dataclass(frozen=True, slots=True)
class PromptStatus:
    """Where a prompt is. ``ahead`` is what the server runs before it, in order."""

    where: Literal["pending", "running", "ended", "nowhere"]
    entry: Mapping[str, Any] | None = None
    ahead: tuple[QueuedPrompt, ...] = ()


class ComfyClient:
    """One ComfyUI server. Threads may share it; nothing is retried here.

    Every method may raise ``BackendUnavailable`` (no answer, or none of ComfyUI's) and
    ``CredentialError`` (401, 403).

    Attributes:
        who: the backend and its url, as messages name them.
        stuck_prompt_id: the prompt that the server's worker thread stopped on, or "". Such a
            server answers everything with 200 and runs nothing more until it is restarted, so
            what waits behind that prompt, and the next post, fail at once.
    """

    def __init__(self, transport: Transport) -> None:
        self.url, self.who = transport.url, transport.who
        self.stuck_prompt_id = ""
        self._transport = transport

    def close(self) -> None:
        self._transport.close()

    def system_stats(self, *, timeout_s: float) -> dict[str, Any]:
        """Version, memory and devices."""
        stats = self._transport.get_json("/system_stats", limits=_within(timeout_s))
        if not isinstance(stats.get("system"), dict):
            self._transport.not_comfyui("/system_stats names no system")
        return stats

    def object_info(self, node_class: str, *, timeout_s: float) -> dict[str, Any]:
        """The description of a node class; empty when the server does not have it."""
        path = f"/object_info/{quote(node_class, safe='')}"
        info = self._transport.get_json(path, limits=_within(timeout_s)).get(node_class)
        return info if isinstance(info, dict) else {}

    def prove(self) -> None:
        """Return once ComfyUI has answered, in about a millisecond.

        Called before a prompt is posted, so that a server that is away gets none.
        """
        if not isinstance(self._transport.get_json("/prompt").get("exec_info"), dict):
            self._transport.not_comfyui("/prompt has no exec_info")

    def raise_if_stuck(self, *, timeout_s: float = 2.5) -> None:
        """Return when the server is not known to be stuck, or is not any more.

        Raises:
            BackendStuck: the prompt that it stopped on is still in execution.
        """
        if not self.stuck_prompt_id:
            return
        queue = self._transport.get_json("/queue", limits=_within(timeout_s))
        if self.stuck_prompt_id in _ids(queue.get("queue_running")):
            raise self.stuck_error()
        self.stuck_prompt_id = ""

    def stuck_error(self) -> BackendStuck:
        # Without a pause: ``raise_if_stuck`` tells when the prompt is gone.
        return BackendStuck(
            f"ComfyUI at {self.url} is stuck: it answers, but what it runs does not move",
            "restart it",
            0.0,
        )

    def submit(self, body: Mapping[str, Any]) -> str:
        """Queue a prompt; its id as the server has it. Not idempotent.

        The same id posted twice runs twice, and the server can answer 5xx and run the prompt
        nevertheless: look the id up before posting it again.

        Raises:
            BackendRejected: the graph is wrong; names the node. After a 200 with
                ``node_errors`` its good part runs nevertheless.
            BackendUnavailable: certainly not queued.
            OutcomeUnknown: may have been queued.
        """
        answer = self._transport.post_once("/prompt", body)
        data = json_object(answer)
        if answer.status == 413:
            self._refuse("it is too large")
        if answer.status == 400 and data and "error" in data:
            self._refuse(explain_refusal(data))
        self._transport.check(answer)
        if not data or not isinstance(data.get("prompt_id"), str):
            raise self._transport.unknown("its answer is not ComfyUI's")
        if data.get("node_errors"):
            self._refuse(explain_refusal(data))
        return str(data["prompt_id"])

    def look_up(self, prompt_id: str) -> PromptStatus:
        """Where the prompt is: history, then queue, then history again.

        The server moves a prompt from running to history at once, but two requests take time:
        one request to each could miss a prompt that is just ending.
        """
        if entry := self._entry(prompt_id):
            return PromptStatus("ended", entry)
        queue = self._transport.get_json("/queue")
        if prompt_id in _ids(queue.get("queue_running")):
            return PromptStatus("running")
        pending = _items(queue.get("queue_pending"))
        ids = [str(item[1]) for item in pending]
        if prompt_id in ids:
            ahead = [*_items(queue.get("queue_running")), *pending[: ids.index(prompt_id)]]
            return PromptStatus("pending", ahead=tuple(_queued(item) for item in ahead))
        if entry := self._entry(prompt_id):
            return PromptStatus("ended", entry)
        return PromptStatus("nowhere")

    def view(self, image: ImageFile) -> bytes:
        """The bytes of an image on the server, unverified."""
        return self._transport.download(
            "/view",
            {"filename": image.filename, "subfolder": image.subfolder, "type": image.type},
        )

    def delete_queued(self, prompt_id: str) -> None:
        """Remove a waiting prompt, or one copy of it, from the queue; no error if there is none."""
        self._transport.order("/queue", {"delete": [prompt_id]})

    def interrupt(self, prompt_id: str) -> None:
        """Stop the prompt if it runs. Without an id the server would stop whatever runs."""
        self._transport.order("/interrupt", {"prompt_id": prompt_id})

    def forget(self, prompt_id: str) -> None:
        """Drop the prompt's history entry; its files stay."""
        self._transport.order("/history", {"delete": [prompt_id]})

    def free_memory(self) -> None:
        """Unload models and caches; the server does it between prompts."""
        self._transport.order("/free", {"unload_models": True, "free_memory": True})

    def _entry(self, prompt_id: str) -> Mapping[str, Any] | None:
        path = f"/history/{quote(prompt_id, safe='')}"
        entry = self._transport.get_json(path).get(prompt_id)
        return entry if isinstance(entry, Mapping) else None

    def _refuse(self, what: str) -> NoReturn:
        raise BackendRejected(f"{self.who} refused the workflow: {what}", "try: imagen doctor")


def _within(timeout_s: float) -> Limits:
    return Limits(connect_s=timeout_s, stall_s=timeout_s, whole_s=timeout_s)


def _items(queue: object) -> list[list[Any]]:
    """Items of a queue, ``[number, prompt_id, graph, extra_data, outputs]``, next one first.

    The server sends them in the order of its heap.
    """
    items = [
        item
        for item in (queue if isinstance(queue, list) else [])
        if isinstance(item, list) and len(item) > 1 and isinstance(item[0], (int, float))
    ]
    return sorted(items, key=lambda item: (item[0], str(item[1])))


def _queued(item: list[Any]) -> QueuedPrompt:
    extra_data = item[3] if len(item) > 3 else None
    return QueuedPrompt(str(item[1]), isinstance(extra_data, Mapping) and "imagen" in extra_data)


def _ids(queue: object) -> tuple[str, ...]:
    return tuple(str(item[1]) for item in _items(queue))
