"""One call of ``generate``: post, follow, fetch; again where the prompt or its image was lost.

The prompt's id is the attempt's and is recorded before it is posted. A worker that takes the
attempt over looks that id up, at the server it was recorded for. A prompt that the server has in
queue or history is followed to its end. A prompt that it does not know was never posted or was
lost with a restart, and is posted under the same id with the same seed. An id that is posted
twice runs twice, so it is looked up before it is posted again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagen.backends.comfyui.run.fetch import FetchedImage, fetch_image
from imagen.backends.comfyui.run.follow import Entry, LimitExceeded, PromptFollower
from imagen.backends.comfyui.run.interrupt_prompt import stop_prompt
from imagen.backends.comfyui.run.phases import Phases
from imagen.backends.comfyui.run.post_prompt import find_server, post_prompt
from imagen.backends.comfyui.run.timings import CancelableWait, Timings
from imagen.backends.comfyui.server.client import ComfyClient, PromptStatus
from imagen.backends.comfyui.server.error_text import without
from imagen.backends.comfyui.server.history_entry import PromptEnding, graph_of, read_ending
from imagen.backends.comfyui.server.websocket import EventSocket
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.backends.comfyui.workflow.file_inputs import refuse_unoffered
from imagen.backends.comfyui.workflow.fitting import values_for
from imagen.backends.comfyui.workflow.workflow import Workflow
from imagen.domain.protocols import Run
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendError,
    BackendRejected,
    BackendStuck,
    BackendUnavailable,
    CredentialError,
    JobCanceled,
    JobTimeout,
)

log = logging.getLogger(__name__)

_MAX_POSTS = 3


@dataclass(kw_only=True)
class PromptRun:
    """The prompt of one attempt.

    Attributes:
        client: the backend's own server.
        connect: makes a client for another url, where an earlier worker posted the prompt.
        graph: the graph that was run, as the server returns it: a worker with another
            configuration may have posted it. Empty until the prompt has ended.
    """

    client: ComfyClient
    connect: Callable[[str], ComfyClient]
    events: EventSocket
    workflow: Workflow
    request: ImageRequest
    run: Run
    settings: ComfyUISettings
    timings: Timings
    graph: Mapping[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._wait = CancelableWait(
            self.run,
            total_steps=self.request.steps or 1,
            timings=self.timings,
            restart_wait_s=self.settings.restart_wait_s,
        )
        previous = self.run.previous
        self._prompt_id = (previous and previous.external_id) or str(self.run.attempt_id)
        #: The server that may have the prompt now.
        self._server: ComfyClient | None = None
        self._posted_as = ""
        self._posts = 0
        self._has_freed = False

    def draw(self) -> FetchedImage:
        """The image. Blocks; see ``Backend.generate`` for what it raises."""
        self._wait.tick()
        try:
            self._server = find_server(self.run.previous, self.client, connect=self.connect)
            while True:
                server = self._server or self._post()
                entry = self._follow(server)
                image = self._finish(server, entry)
                if image is not None:
                    return image
                self._forget(server)
        except JobCanceled:
            self._cancel()
            raise

    def _post(self) -> ComfyClient:
        """The backend's own server, with the prompt queued there."""
        self._posts += 1
        if self._posts > _MAX_POSTS:
            raise BackendUnavailable(
                f"{self.client.who} lost the prompt or its image {_MAX_POSTS} times",
                "does it keep restarting? see ComfyUI's own log",
            )
        if self._posts == 1:
            # Nothing has begun: a server that is away is reported at once.
            self.client.prove()
        else:
            self._wait.until_answered(self.client.prove)
        self.client.raise_if_stuck()
        refuse_unoffered(self.client, self.workflow, self.request.options)
        self.events.open()
        self._posted_as = self.events.client_id
        # Recorded first: when this worker dies after the post, the next one finds the prompt.
        self._record(self._prompt_id)
        try:
            accepted_id = post_prompt(self.client, self._body(), wait=self._wait)
        except BackendRejected as exc:
            # With one good output and one bad the server refuses and runs the good one.
            self._stop(self.client)
            raise self._without_texts(exc) from exc
        if accepted_id != self._prompt_id:
            # A server that does not let clients choose the id.
            self._record(accepted_id)
        return self.client

    def _body(self) -> dict[str, Any]:
        """What is posted.

        Each post has a file prefix of its own: names are used again after a deletion, and an
        identical graph is answered from the cache with the old file's name, even when that file
        is gone (both observed on ComfyUI 0.3.64).
        """
        attempt_id = str(self.run.attempt_id)
        name = "image" if self._posts == 1 else f"image-{self._posts}"
        return {
            "prompt": self.workflow.fill(
                values_for(self.request, self.workflow),
                filename_prefix=f"imagen/{attempt_id}/{name}",
            ),
            "prompt_id": self._prompt_id,
            # Anything but a string here ends the whole server, and anything but an object in
            # extra_data its worker thread (observed on ComfyUI 0.3.64).
            "client_id": self._posted_as,
            "extra_data": {"imagen": {"attempt": attempt_id}},
        }

    def _record(self, prompt_id: str) -> None:
        self._prompt_id, self._server = prompt_id, self.client
        self.run.submitted(prompt_id, place=self.client.url)

    def _follow(self, server: ComfyClient) -> Entry | None:
        """The prompt's history entry; None when the server has lost the prompt."""
        graph = self.workflow.fill(values_for(self.request, self.workflow))
        follower = PromptFollower(
            client=server,
            prompt_id=self._prompt_id,
            events=self.events,
            posted_as=self._posted_as,
            run=self.run,
            settings=self.settings,
            timings=self.timings,
            phases=Phases(graph),
            total_steps=self.request.steps or 1,
        )
        try:
            return follower.until_ended()
        except LimitExceeded as exceeded:
            return self._interrupt(server, exceeded)

    def _interrupt(self, server: ComfyClient, exceeded: LimitExceeded) -> Entry:
        """The history entry where the prompt was drawn before the interrupt took effect.

        Raises:
            BackendStuck: the interrupt has no effect, or another prompt is what does not move.
            JobTimeout, BackendUnavailable: interrupted.
        """
        last = self._stop(server)
        if last and last.entry and self._ending_of(last.entry).kind == "success":
            return last.entry
        error = exceeded.error
        if last is None or exceeded.culprit_id != self._prompt_id:
            server.stuck_prompt_id = exceeded.culprit_id
            # With its events it was running, only too slowly: the job fails. Without them (another
            # worker posted it) the server's worker thread may have died long ago.
            if not (isinstance(error, JobTimeout) and self.events.is_attached(self._posted_as)):
                raise server.stuck_error()
        elif isinstance(error, BackendUnavailable):
            self._forget(server)
        raise error

    def _finish(self, server: ComfyClient, entry: Entry | None) -> FetchedImage | None:
        """The image; None when the prompt has to be posted again."""
        if entry is None:
            log.warning(
                "comfyui_prompt_lost", extra={"url": server.url, "prompt_id": self._prompt_id}
            )
            self.events.close()
            return None
        ending = self._ending_of(entry)
        if ending.kind == "success":
            self.graph = graph_of(entry)
            return self._fetch(server, ending)
        if ending.kind == "out of memory" and not self._has_freed:
            self._free_memory(server)
            return None
        error = self._error_of(server, ending)
        if isinstance(error, BackendUnavailable):
            self._forget(server)
        raise error

    def _fetch(self, server: ComfyClient, ending: PromptEnding) -> FetchedImage | None:
        if not ending.images:
            raise BackendRejected(
                f"{server.who}: output node {self.workflow.bindings.output!r} saved no image",
                "bind another node as the output",
            )
        return fetch_image(
            server,
            ending.images,
            workflow=self.workflow,
            size=self.request.size,
            wait=self._wait,
        )

    def _free_memory(self, server: ComfyClient) -> None:
        log.warning(
            "comfyui_out_of_memory", extra={"url": server.url, "prompt_id": self._prompt_id}
        )
        self._has_freed = True
        server.free_memory()
        self._wait.pause(self.timings.free_s, phase="freeing GPU memory")

    def _error_of(self, server: ComfyClient, ending: PromptEnding) -> BackendError:
        match ending.kind:
            case "interrupted":
                # Our own interrupts do not come here: another client interrupted what runs.
                return BackendUnavailable(f"another client interrupted the prompt at {server.url}")
            case "out of memory":
                return BackendRejected(
                    f"{server.who} ran out of GPU memory drawing {self.request.size}, twice",
                    "ask for a smaller image, use an fp8 model, or start ComfyUI with --lowvram",
                )
            case "disk full":
                # The request is not to blame, and every other one would fail as well.
                return BackendStuck(
                    f"ComfyUI at {server.url} cannot save images: no space left on its disk",
                    "free some space there",
                )
        return self._without_texts(
            BackendRejected(f"{server.who} failed: {ending.reason}", "see ComfyUI's own log")
        )

    def _stop(self, server: ComfyClient) -> PromptStatus | None:
        return stop_prompt(server, self._prompt_id, wait_s=self.timings.stop_s)

    def _cancel(self) -> None:
        if self._server and not self._stop(self._server):
            log.warning(
                "comfyui_stop_unconfirmed",
                extra={"url": self._server.url, "prompt_id": self._prompt_id},
            )

    def _forget(self, server: ComfyClient) -> None:
        """Drop the history entry: an attempt that is resumed must not find the old ending."""
        self._server = None
        try:
            server.forget(self._prompt_id)
        except (BackendError, CredentialError):
            log.info(
                "comfyui_history_kept", extra={"url": server.url, "prompt_id": self._prompt_id}
            )

    def _ending_of(self, entry: Entry) -> PromptEnding:
        return read_ending(entry, self.workflow.bindings.output)

    def _without_texts(self, error: BackendRejected) -> BackendRejected:
        texts = (self.request.prompt, self.request.styled_prompt, self.request.negative)
        return BackendRejected(without(error.message, *texts), error.hint)
