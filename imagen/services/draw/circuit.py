"""Circuit breakers: of which backends this process claims no jobs because it cannot reach them.

Two hosts may give the same name to a server of their own, so a circuit belongs to one process and
one backend. It is kept in memory and reported in the process's row of the workers table.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from imagen.domain.drawn import Health
from imagen.domain.protocols import Backend, Clock
from imagen.errors import BackendStuck, ImagenError
from imagen.ledger.jobs.worker_rows import OpenCircuit

log = logging.getLogger(__name__)

#: So many refusals in a row open a circuit, whatever else of that backend runs here.
_MOST_REFUSALS = 3
#: The wait between two checks doubles up to here where a repeat is not free.
_LONGEST_WAIT_S = 60.0
#: What a ``BackendStuck`` asks for doubles up to here, until the backend answers a drawing.
_LONGEST_PAUSE_S = 600.0
_JITTER = 0.1
_LOOK_EVERY_S = 2.0
#: Jobs whose last refusal is remembered, for each backend.
_MOST_JOBS = 1_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often a job was refused here, including this time.

    ``is_singled_out``: the backend has answered other jobs since it last refused this one, so the
    job itself is to blame.
    """

    number: int = 1
    is_singled_out: bool = False


FIRST_REFUSAL = Refusal()


@dataclass
class _Circuit:
    """What is known of one backend."""

    running: int = 0
    #: Refusals in a row, since the backend last answered a drawing.
    refusals: int = 0
    #: How many drawings it has answered; by job, how often it was refused, and how many answers
    #: there were at the last time.
    answers: int = 0
    refused: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    #: When the first refusal in the row came; a check that succeeds does not end the row.
    away_since_s: float | None = None
    opened: OpenCircuit | None = None
    #: Checks since it last answered a drawing, and when the next one is due.
    checks: int = 0
    due_s: float = 0.0


class Circuits:
    """The circuits of one process. Threads share it.

    While a circuit is open, one thread calls the backend's ``check()``, which is free: every
    ``check_s`` seconds where a repeat of a drawing is free; otherwise the wait doubles each time.
    """

    def __init__(
        self,
        get: Callable[[str], Backend],
        clock: Clock,
        *,
        check_s: float = 5.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_change`` is called from the thread after a circuit has opened or closed.

        ``on_look`` is called from it every two seconds while one is open.
        """
        self.on_change = on_change
        self.on_look: Callable[[], None] = lambda: None
        self._get = get
        self._clock = clock
        self._check_s = check_s
        self._circuits: dict[str, _Circuit] = {}
        self._changed = threading.Condition()
        self._has_news = False
        self._is_stopped = True
        self._open_names: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None

    @property
    def open_names(self) -> tuple[str, ...]:
        """The backends of which nothing is to be claimed now, sorted."""
        return self._open_names

    def all_open(self) -> list[OpenCircuit]:
        """The open circuits, by name."""
        with self._changed:
            return [opened for name in self._open_names if (opened := self._of(name).opened)]

    def away_for_s(self, backend: str) -> float:
        """For how many seconds it has refused every drawing; 0 where it has not."""
        with self._changed:
            since_s = self._of(backend).away_since_s
        return 0.0 if since_s is None else self._clock.boottime_s() - since_s

    @contextmanager
    def drawing(self, backend: str) -> Iterator[None]:
        """Count a drawing of that backend while the block runs."""
        with self._changed:
            self._of(backend).running += 1
        try:
            yield
        finally:
            with self._changed:
                self._of(backend).running -= 1

    def note_answer(self, backend: str) -> None:
        """The backend has drawn, or refused the request itself: it is reachable."""
        with self._changed:
            circuit = self._of(backend)
            circuit.answers += 1
            circuit.refusals = circuit.checks = 0
            circuit.away_since_s = None
            self._close(backend, circuit)

    def note_refusal(self, backend: str, job_id: UUID, error: ImagenError) -> Refusal:
        """Nothing could be begun there, or what it began is lost with it.

        Opens the circuit at the third refusal in a row, at the first where nothing else of that
        backend runs here, and at once for ``BackendStuck``.
        """
        with self._changed:
            circuit = self._of(backend)
            number, answers = circuit.refused.get(job_id, (0, circuit.answers))
            if len(circuit.refused) >= _MOST_JOBS:
                circuit.refused.clear()
            circuit.refused[job_id] = (number + 1, circuit.answers)
            circuit.refusals += 1
            if circuit.away_since_s is None:
                circuit.away_since_s = self._clock.boottime_s()
            is_stuck = isinstance(error, BackendStuck)
            if is_stuck or circuit.running <= 1 or circuit.refusals >= _MOST_REFUSALS:
                self._open(backend, circuit, error)
            return Refusal(number + 1, is_singled_out=answers < circuit.answers)

    def start(self) -> None:
        """Begin to check open circuits."""
        with self._changed:
            self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="imagen-circuits", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a check that is under way is not waited for."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread = None

    def check_due(self) -> None:
        """Check each backend whose check is due. Blocks for under 5 s each."""
        now_s = self._clock.boottime_s()
        with self._changed:
            due = [name for name in self._open_names if self._of(name).due_s <= now_s]
        for name in due:
            health = self._check(name)
            with self._changed:
                circuit = self._of(name)
                if health is not None and health.is_ok:
                    self._close(name, circuit)
                elif circuit.opened is not None:
                    circuit.due_s = self._clock.boottime_s() + self._next_wait_s(name, circuit)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._has_news and not self._is_stopped:
                    self._changed.wait(self._until_due_s())
                if self._is_stopped:
                    return
                has_news, self._has_news = self._has_news, False
            self._tell(self.on_change if has_news else self.on_look)
            self.check_due()

    def _until_due_s(self) -> float | None:
        dues_s = [self._of(name).due_s for name in self._open_names]
        if not dues_s:
            return None
        return min(_LOOK_EVERY_S, max(0.0, min(dues_s) - self._clock.boottime_s()))

    def _tell(self, listener: Callable[[], None]) -> None:
        try:
            listener()
        except ImagenError as error:
            # The ledger is away: the next look, or heartbeat, tells the same.
            log.debug("circuits_not_told", extra={"why": str(error)})
        except Exception:
            # Without this thread no circuit would ever close.
            log.exception("circuits_not_told")

    def _check(self, name: str) -> Health | None:
        try:
            return self._get(name).check()
        except Exception as error:
            # A check promises to raise nothing; a third party's adapter may break its promise.
            log.warning("check_failed", extra={"backend": name, "why": type(error).__name__})
            return None

    def _of(self, name: str) -> _Circuit:
        return self._circuits.setdefault(name, _Circuit())

    def _open(self, name: str, circuit: _Circuit, error: ImagenError) -> None:
        if circuit.opened is not None:
            return
        circuit.opened = OpenCircuit(name, datetime.now(UTC), str(error))
        # A check may not see what is wrong with a stuck server, so the error says how long to wait
        # the first time. ``checks`` are those since the server last answered a drawing.
        pause_s = error.pause_s if isinstance(error, BackendStuck) else 0.0
        least_s = min(pause_s * 2.0 ** min(circuit.checks, 30), max(pause_s, _LONGEST_PAUSE_S))
        wait_s = max(least_s, self._next_wait_s(name, circuit))
        circuit.due_s = self._clock.boottime_s() + wait_s
        log.info("circuit_opened", extra={"backend": name, "why": str(error)})
        self._note_change()

    def _close(self, name: str, circuit: _Circuit) -> None:
        if circuit.opened is None:
            return
        circuit.opened = None
        # Refusals of before say nothing of the backend as it is now.
        circuit.refusals = 0
        log.info("circuit_closed", extra={"backend": name})
        self._note_change()

    def _note_change(self) -> None:
        self._open_names = tuple(
            sorted(name for name, each in self._circuits.items() if each.opened is not None)
        )
        self._has_news = True
        self._changed.notify_all()

    def _next_wait_s(self, name: str, circuit: _Circuit) -> float:
        try:
            is_free = self._get(name).repeat_is_free
        except ImagenError:
            is_free = False
        wait_s = self._check_s
        if not is_free:
            wait_s = min(self._check_s * 2.0 ** min(circuit.checks, 30), _LONGEST_WAIT_S)
        circuit.checks += 1
        jitter = random.random()  # noqa: S311  (no secret hangs on it)
        return wait_s * (1 + _JITTER * jitter)
