"""One call of ``generate``: submit, follow, fetch, and begin again where that is the cure.

Who may find the prompt where: its id is the attempt's and is announced before it is posted, so
a worker that takes the attempt over looks for that id first, at the server it was announced for.
What the server has in queue or history is followed to its end; what it does not know was never
posted or was lost with a restart, and is posted (again) under the same id with the same seed.
Posting one id twice would run it twice, so nothing is posted without a look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from imagen.backends.comfyui.run.fetch import FetchedImage, fetch_image
from imagen.backends.comfyui.run.follow import Entry, Limits, Overdue, PromptFollower, Stalled
from imagen.backends.comfyui.run.interrupt_prompt import stop_prompt
from imagen.backends.comfyui.run.phases import Phases
from imagen.backends.comfyui.run.post_prompt import make_body, post_prompt
from imagen.backends.comfyui.run.resume import find_server
from imagen.backends.comfyui.run.stuck import StuckSign
from imagen.backends.comfyui.run.timings import Timings
from imagen.backends.comfyui.run.waiting import CancelableWait
from imagen.backends.comfyui.server.client import ComfyClient
from imagen.backends.comfyui.server.error_text import without
from imagen.backends.comfyui.server.history_entry import PromptEnding, graph_of, read_ending
from imagen.backends.comfyui.server.websocket import EventSocket
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


@dataclass
class PromptRun:
    """What one call knows.

    ``client`` is this backend's own server. ``elsewhere`` makes a client for another one, where
    an earlier worker may have sent the prompt; ``holder`` is the server that has it now.
    """

    client: ComfyClient
    elsewhere: Callable[[str], ComfyClient]
    workflow: Workflow
    request: ImageRequest
    run: Run
    events: EventSocket
    limits: Limits
    timings: Timings
    sign: StuckSign
    holder: ComfyClient | None = field(init=False, default=None)
    #: What was run, as the server tells it: a worker of another configuration may have posted it.
    graph: Mapping[str, Any] = field(init=False, default_factory=dict)
    _is_announced: bool = field(init=False, default=False)
    _posted_as: str = field(init=False, default="")
    _draws: int = field(init=False, default=0)
    _has_freed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._steps = self.request.steps or 1
        self._waiting = CancelableWait(self.run, total_steps=self._steps, timings=self.timings)
        previous = self.run.previous
        self.prompt_id = (previous and previous.external_id) or str(self.run.attempt_id)

    def draw(self) -> FetchedImage:
        """The picture. Blocks; see ``Backend.generate`` for what it raises."""
        self._waiting.tick()
        try:
            self.holder = find_server(self.run.previous, self.client, elsewhere=self.elsewhere)
            while True:
                holder = self.holder = self.holder or self._submit()
                if (picture := self._finish(holder)) is not None:
                    return picture
        except JobCanceled:
            self._stop()
            raise
        finally:
            self._close_guest()

    # Posting.

    def _submit(self) -> ComfyClient:
        """Our own server, with the prompt queued there."""
        self._draws += 1
        if self._draws > self.timings.max_draws:
            raise BackendUnavailable(
                f"{self.client.who} lost the prompt or its image {self.timings.max_draws} times",
                "does it keep restarting? see ComfyUI's own log",
            )
        # The first time nothing has begun and the caller should know at once; after that the
        # server may be restarting.
        patience_s = self.limits.absence_s if self._draws > 1 else 0.0
        self._waiting.until_answered(self.client.prove, patience_s=patience_s)
        self.sign.refuse_if_up(self.client)
        refuse_unoffered(self.client, self.workflow, self.request.options)
        self.events.open()
        self._posted_as = self.events.client_id
        # Announced first: a worker that dies after the post leaves its successor the id.
        self._announce(self.prompt_id)
        self._post()
        return self.client

    def _post(self) -> None:
        try:
            accepted_id = post_prompt(
                self.client,
                make_body(
                    self.workflow,
                    self.request,
                    attempt_id=str(self.run.attempt_id),
                    prompt_id=self.prompt_id,
                    client_id=self._posted_as,
                    draw=self._draws,
                ),
                waiting=self._waiting,
                patience_s=self.limits.absence_s,
                timings=self.timings,
            )
        except BackendRejected as exc:
            raise self._without_prompt(exc) from exc
        if accepted_id != self.prompt_id:
            # A server that does not let clients choose the id.
            self._announce(accepted_id)

    def _announce(self, prompt_id: str) -> None:
        self.prompt_id = prompt_id
        self._is_announced = True
        self.run.submitted(prompt_id, place=self.client.url)

    # Following, and what the end means.

    def _finish(self, holder: ComfyClient) -> FetchedImage | None:
        """The picture, or nothing when the prompt has to be posted again."""
        entry = self._follow(holder)
        if entry is None:
            log.warning(
                "comfyui_prompt_lost", extra={"url": holder.url, "prompt_id": self.prompt_id}
            )
            self.events.close()
            self._let_go(holder)
            return None
        outcome = read_ending(entry, self.workflow.bindings.output)
        if outcome.end == "success":
            self.graph = graph_of(entry)
            return self._fetch(holder, outcome)
        if outcome.end != "out of memory" or self._has_freed:
            self._raise_for(holder, outcome)
        self._free(holder)
        return None

    def _follow(self, holder: ComfyClient) -> Entry | None:
        watch = PromptFollower(
            holder,
            self.prompt_id,
            events=self.events,
            posted_as=self._posted_as,
            run=self.run,
            limits=self.limits,
            timings=self.timings,
            sign=self._sign_of(holder),
            phases=Phases(self.workflow.place(values_for(self.request, self.workflow))),
            total_steps=self._steps,
        )
        try:
            return watch.until_ended()
        except Overdue:
            return self._end_overdue(holder)
        except Stalled as stalled:
            return self._end_stalled(holder, stalled.culprit_id)

    def _end_overdue(self, holder: ComfyClient) -> Entry:
        last = stop_prompt(holder, self.prompt_id, wait_s=self.timings.stop_s)
        if last and last.entry and self._is_success(last.entry):
            return last.entry
        if last is None:
            sign = self._sign_of(holder)
            sign.put_up(self.prompt_id)
            if not self.events.is_attached(self._posted_as):
                # It takes no interrupt and nobody has heard it move: the server's worker may
                # have died long ago, under the worker that posted it.
                raise sign.error(holder)
        raise JobTimeout(
            f"{holder.who} did not finish within timeout_s {self.limits.timeout_s:g}",
            "ask for a smaller image or fewer steps, or raise timeout_s",
        )

    def _end_stalled(self, holder: ComfyClient, culprit_id: str) -> Entry:
        last = stop_prompt(holder, self.prompt_id, wait_s=self.timings.stop_s)
        if last and last.entry and self._is_success(last.entry):
            return last.entry
        if last is None or culprit_id != self.prompt_id:
            sign = self._sign_of(holder)
            sign.put_up(culprit_id)
            raise sign.error(holder)
        self._let_go(holder)
        raise BackendUnavailable(
            f"{holder.who} showed no progress for stall_s {self.limits.stall_s:g}; "
            "the prompt was interrupted",
            "raise stall_s if loading the model takes longer than that",
        )

    def _free(self, holder: ComfyClient) -> None:
        log.warning("comfyui_out_of_memory", extra={"url": holder.url, "prompt_id": self.prompt_id})
        self._has_freed = True
        holder.free_memory()
        self._let_go(holder)
        self._waiting.pause(self.timings.free_s, phase="freeing GPU memory")

    def _raise_for(self, holder: ComfyClient, outcome: PromptEnding) -> NoReturn:
        if outcome.end == "interrupted":
            # Not by us, our own stops never come here: a global interrupt hits what runs.
            self._let_go(holder)
            raise BackendUnavailable(f"somebody interrupted the prompt at {holder.url}")
        if outcome.end == "out of memory":
            raise BackendRejected(
                f"{holder.who} ran out of GPU memory drawing {self.request.size}, twice",
                "ask for a smaller image, use an fp8 model, or start ComfyUI with --lowvram",
            )
        if outcome.end == "disk full":
            # Nothing is wrong with the request, and the next one would fare no better.
            self._let_go(holder)
            raise BackendStuck(
                f"ComfyUI at {holder.url} cannot save images: no space left on its disk",
                "free some space there",
                self._sign_of(holder).put_up(""),
            )
        raise self._without_prompt(
            BackendRejected(f"{holder.who} failed: {outcome.reason}", "see ComfyUI's own log")
        )

    def _fetch(self, holder: ComfyClient, outcome: PromptEnding) -> FetchedImage | None:
        if not outcome.images:
            raise BackendRejected(
                f"{holder.who}: output node {self.workflow.bindings.output!r} saved no image",
                "bind another node as the output",
            )
        picture = fetch_image(
            holder,
            outcome.images,
            workflow=self.workflow,
            size=self.request.size,
            waiting=self._waiting,
            patience_s=self.limits.absence_s,
            timings=self.timings,
        )
        if picture is None:
            self._let_go(holder)
            return None
        self._sign_of(holder).take_down()
        return picture

    # Small steps.

    def _is_success(self, entry: Entry) -> bool:
        return read_ending(entry, self.workflow.bindings.output).end == "success"

    def _sign_of(self, holder: ComfyClient) -> StuckSign:
        """Our own server's sign; what happens at another one says nothing about ours."""
        return self.sign if holder is self.client else StuckSign()

    def _let_go(self, holder: ComfyClient) -> None:
        """Have the server forget how the prompt ended, so that no later look takes it for news."""
        try:
            holder.forget(self.prompt_id)
        except (BackendError, CredentialError):
            log.info("comfyui_history_kept", extra={"url": holder.url, "prompt_id": self.prompt_id})
        self._close_guest()
        self.holder = None

    def _close_guest(self) -> None:
        if self.holder is not None and self.holder is not self.client:
            self.holder.close()

    def _stop(self) -> None:
        holder = self.holder or (self.client if self._is_announced else None)
        if holder and stop_prompt(holder, self.prompt_id, wait_s=self.timings.stop_s) is None:
            log.warning(
                "comfyui_stop_unconfirmed", extra={"url": holder.url, "prompt_id": self.prompt_id}
            )

    def _without_prompt(self, error: BackendRejected) -> BackendRejected:
        texts = (self.request.prompt, self.request.styled_prompt, self.request.negative)
        return BackendRejected(without(error.message, *texts), error.hint)
