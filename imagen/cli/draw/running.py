"""Draws the jobs of a command, here or by workers, and keeps what happened for its answer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from imagen.cli.draw.job_phases import JobPhases
from imagen.cli.screen.durations import brief
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.progress import Count, StepDisplay
from imagen.cli.screen.streams import OutputFailed
from imagen.cli.shell import Shell
from imagen.domain.job import Job, JobDraft, JobState, Wakeup
from imagen.domain.printable import printable_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.local.local_executor import LocalExecutor
    from imagen.queue.wait.queue_executor import QueueExecutor
    from imagen.services.draw.claim_outcome import ClaimOutcome
    from imagen.wiring.bootstrap import Imagen

#: With many jobs waiting for the same thing, one line about it is enough for so long.
_SAY_AGAIN_S = 10.0
_MOST_IDS_NAMED = 20
#: A batch may fail ten thousand times; for most of them what the ledger knows is enough.
_MOST_ERRORS = 100
_ENDED = (JobState.FAILED, JobState.CANCELED)


@dataclass
class Watch:
    """Listens to the jobs of a command; implements ``JobListener``. Threads share it.

    ``on_path`` is called with each delivered image's path.
    """

    shell: Shell
    steps: StepDisplay | None = None
    on_path: Callable[[str], None] | None = None
    errors: dict[UUID, ImagenError] = field(default_factory=dict)
    phases: JobPhases = field(default_factory=JobPhases)
    #: Ends the run, once a path could not be written: nothing more is drawn for a lost reader.
    stop: Callable[[], None] = lambda: None
    output_error: OutputFailed | None = None
    _told_s: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_outcome(self, outcome: ClaimOutcome) -> None:
        self.phases.drop(outcome.job_id)
        if outcome.error is None:
            return
        if outcome.retry is not None:
            self._tell_retry(str(outcome.error), outcome.retry.wait_s)
        elif outcome.state in _ENDED and len(self.errors) < _MOST_ERRORS:
            self.errors[outcome.job_id] = outcome.error

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None:
        phase = self.phases.hear(job_id, event)
        match event:
            case {"event": "progress", "done": int(done), "total": int(total)}:
                if self.steps is not None:
                    self.steps.step(done, total, phase=phase)
            case {"event": "retry", "wait_s": int() | float() as wait_s, "why": str(why)}:
                self._tell_retry(why, wait_s)
            case {"event": "succeeded", "path": str(path)}:
                self._tell_path(path)

    def _tell_path(self, path: str) -> None:
        if self.on_path is None or self.output_error is not None:
            return
        try:
            self.on_path(path)
        except OutputFailed as error:
            # Kept for the command: here it would end a thread in the middle of a delivery.
            self.output_error = error
            self.stop()

    def on_missing_worker(self, queue: str) -> None:
        role = queue if queue in ("gpu", "cloud") else "gpu|cloud"
        self.shell.screen.say(
            f"no live worker serves the queue {queue!r}; start one where it can reach the backend:"
            f" imagen worker {role}"
        )

    def on_pause(self, backend: str, reason: str) -> None:
        if self._is_news(f"{backend} {reason}"):
            self.shell.screen.say(
                f"backend {backend!r} is paused: {printable_line(reason)}"
                f" (to go on at once: imagen backends resume {backend})"
            )

    def on_unreachable(self, backend: str, reason: str) -> None:
        if self._is_news(f"unreachable {backend} {reason}"):
            self.shell.screen.say(
                f"waiting for backend {backend!r}, which is asked again and again:"
                f" {printable_line(reason)}"
            )

    def _tell_retry(self, why: str, wait_s: float) -> None:
        if self._is_news(why):
            self.shell.screen.say(f"retrying in {brief(wait_s)}: {printable_line(why)}")

    def _is_news(self, text: str) -> bool:
        now_s = time.monotonic()
        with self._lock:
            if now_s - self._told_s.get(text, float("-inf")) < _SAY_AGAIN_S:
                return False
            self._told_s[text] = now_s
        return True


def run_jobs(
    shell: Shell,
    imagen: Imagen,
    scope: Scope,
    *,
    watch: Watch,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
) -> bool:
    """Draw and deliver in this process, or wait while workers do where there is a broker.

    Says whether nothing of ``scope`` is unfinished. Blocks, for at most ``timeout_s`` seconds.
    ``max_attempts`` is for what is drawn here.

    Raises:
        Interrupted: somebody pressed Ctrl-C; what ran here was given back.
        OutputFailed: a path could not be written; the same.
        ImagenError: nothing more can be drawn now.
    """
    executor: LocalExecutor | QueueExecutor
    if imagen.has_broker:
        executor = imagen.queue_executor(listener=watch)
    else:
        executor = imagen.local_executor(listener=watch, max_attempts=max_attempts)
    shell.is_over = False
    watch.stop = executor.stop
    try:
        with shell.interrupt.stopping(executor.stop):
            is_over = executor.run(scope, timeout_s=timeout_s)
    except Interrupted:
        costly = costly_hint(imagen, scope)
        shell.interrupt.how_to_go_on = "\n".join(
            filter(None, [shell.interrupt.how_to_go_on, costly])
        )
        raise
    finally:
        shell.is_over = True
    if watch.output_error is not None:
        raise watch.output_error
    return is_over


def path_printer(shell: Shell) -> Callable[[str], None]:
    """What prints the path of each image as it is delivered."""
    return lambda path: shell.screen.answer_result(path, what="the image is there")


def wake_workers(imagen: Imagen, jobs: Sequence[Job | JobDraft]) -> None:
    """After the commit: tell the workers, where there is a broker, that these jobs wait.

    Raises:
        BrokerUnavailable: the jobs are accepted all the same, and are drawn when Redis is back.
    """
    if not imagen.has_broker:
        return
    from imagen.services.submit.wakeups import wakeup_for

    by_queue: dict[str, list[Wakeup]] = {}
    for job in jobs:
        by_queue.setdefault(job.queue, []).append(wakeup_for(job))
    for queue, wakeups in by_queue.items():
        imagen.queue_publisher.wake_workers(queue, wakeups)


def go_on_hint(imagen: Imagen, ids: Sequence[UUID]) -> str:
    """What to type to get these unfinished jobs after all."""
    verb = "wait" if imagen.has_broker else "resume"
    if len(ids) > _MOST_IDS_NAMED:
        return f"imagen jobs {verb} --all"
    return f"go on with: imagen jobs {verb} {' '.join(map(str, ids))}"


def costly_hint(imagen: Imagen, scope: Scope) -> str:
    """What to type so that nothing of ``scope`` goes on to cost; "" where nothing does."""
    from imagen.ledger.queries.unfinished_jobs import submitted_jobs

    found = submitted_jobs(imagen.ledger, scope)
    paid = [job_id for job_id, backend in found if is_paid(imagen, backend)]
    if not paid:
        return ""
    named = " ".join(map(str, paid)) if len(paid) <= _MOST_IDS_NAMED else "--all"
    what = "1 image goes" if len(paid) == 1 else f"{len(paid):,} images go"
    verb = "costs" if len(paid) == 1 else "cost"
    return f"{what} on being drawn and {verb}; to stop: imagen jobs cancel {named}"


def is_paid(imagen: Imagen, backend: str) -> bool:
    """Whether drawing with that backend costs money; False where it is not configured here."""
    try:
        return not imagen.registry.get(backend).repeat_is_free
    except ImagenError:
        return False


def count_here(imagen: Imagen, scope: Scope) -> Count:
    """How far the jobs of the scope are, whoever drew them."""
    from imagen.ledger.queries.jobs import count_states

    states = count_states(imagen.ledger, scope)
    ends = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)
    return Count(*(states.get(state, 0) for state in ends))


def tell_warnings(shell: Shell, warnings: Counter[str]) -> None:
    """Each sentence once, with how many images it is about where it is about several."""
    for text, number in warnings.most_common():
        shell.screen.warn(f"{text} ({number:,} images)" if number > 1 else text)
