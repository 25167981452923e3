"""When a process leaves a backend alone, and when it asks whether the backend is back."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest

from imagen.domain.drawn import Health
from imagen.errors import BackendStuck, BackendUnavailable
from imagen.services.draw.circuit import Circuits, Refusal
from imagen.services.leases.clock import SystemClock

AWAY = BackendUnavailable("connection refused")


@pytest.fixture
def backend(make_backend: Any) -> Any:
    backend = make_backend()
    backend.health = Health("unreachable", "connection refused")
    return backend


@pytest.fixture
def circuits(backend: Any, clock: Any) -> Circuits:
    return Circuits(lambda _name: backend, clock)


def _refuse(circuits: Circuits, error: Any = AWAY, *, running: int = 2) -> None:
    """One refused drawing of several that run at the same time."""
    with circuits.drawing("mock"):
        if running > 1:
            _refuse_inside(circuits, error, running - 1)
        else:
            circuits.note_refusal("mock", uuid4(), error)


def _refuse_inside(circuits: Circuits, error: Any, more: int) -> None:
    with circuits.drawing("mock"):
        if more > 1:
            _refuse_inside(circuits, error, more - 1)
        else:
            circuits.note_refusal("mock", uuid4(), error)


def test_the_first_refusal_opens_it_where_nothing_else_runs(circuits: Circuits) -> None:
    _refuse(circuits, running=1)

    assert circuits.open_names == ("mock",)
    [opened] = circuits.all_open()
    assert (opened.backend, opened.why) == ("mock", "connection refused")


def test_the_third_refusal_in_a_row_opens_it_whatever_else_runs(circuits: Circuits) -> None:
    _refuse(circuits)
    _refuse(circuits)
    assert circuits.open_names == ()

    _refuse(circuits)

    assert circuits.open_names == ("mock",)


def test_an_answer_in_between_begins_the_row_again(circuits: Circuits) -> None:
    _refuse(circuits)
    _refuse(circuits)
    circuits.note_answer("mock")
    _refuse(circuits)
    _refuse(circuits)

    assert circuits.open_names == ()


def test_a_stuck_backend_opens_it_at_once(circuits: Circuits) -> None:
    _refuse(circuits, BackendStuck("stuck", "restart it", 0.0))

    assert circuits.open_names == ("mock",)


def test_other_backends_are_not_concerned(circuits: Circuits) -> None:
    _refuse(circuits, running=1)
    circuits.note_answer("other")

    assert circuits.open_names == ("mock",)


def test_a_check_that_succeeds_closes_it(circuits: Circuits, backend: Any, clock: Any) -> None:
    _refuse(circuits, running=1)
    clock.sleep(6)
    circuits.check_due()
    assert circuits.open_names == ("mock",)
    backend.health = Health("ok")
    clock.sleep(6)
    circuits.check_due()

    assert circuits.open_names == ()
    assert backend.checks == 2


def test_a_free_backend_is_asked_every_five_seconds(
    circuits: Circuits, backend: Any, clock: Any
) -> None:
    _refuse(circuits, running=1)
    for _ in range(600):
        clock.sleep(0.5)
        circuits.check_due()

    assert 50 <= backend.checks <= 60


def test_a_paid_backend_is_asked_after_5_10_20_up_to_60_seconds(
    make_backend: Any, clock: Any
) -> None:
    backend = make_backend(free=False)
    backend.health = Health("unreachable")
    circuits = Circuits(lambda _name: backend, clock)
    began_s = clock.boottime_s()
    asked_s: list[float] = []
    _refuse(circuits, running=1)
    while len(asked_s) < 7:
        before = backend.checks
        clock.sleep(0.1)
        circuits.check_due()
        if backend.checks > before:
            asked_s.append(clock.boottime_s() - began_s)
    waits_s = [now - then for then, now in zip([0.0, *asked_s], asked_s, strict=False)]

    for waited_s, least_s in zip(waits_s, (5, 10, 20, 40, 60, 60, 60), strict=True):
        assert least_s <= waited_s <= least_s * 1.1 + 0.2


def test_a_backend_that_checks_well_but_refuses_again_is_asked_less_and_less(
    make_backend: Any, clock: Any
) -> None:
    backend = make_backend(free=False)
    circuits = Circuits(lambda _name: backend, clock)
    for _ in range(3):
        _refuse(circuits, running=1)
        clock.sleep(20 * 1.2)
        circuits.check_due()
        assert circuits.open_names == ()
    _refuse(circuits, running=1)
    clock.sleep(20 * 1.2)
    circuits.check_due()

    assert circuits.open_names == ("mock",)


def test_what_a_check_cannot_see_is_left_alone_for_as_long_as_the_error_says(
    circuits: Circuits, backend: Any, clock: Any
) -> None:
    backend.health = Health("ok")
    _refuse(circuits, BackendStuck("disk full", "", 60.0))
    clock.sleep(59)
    circuits.check_due()
    assert circuits.open_names == ("mock",)

    clock.sleep(2)
    circuits.check_due()
    assert circuits.open_names == ()


def test_a_backend_that_is_stuck_again_is_left_alone_for_twice_as_long(
    circuits: Circuits, backend: Any, clock: Any
) -> None:
    backend.health = Health("ok")
    for pause_s in (30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0):
        _refuse(circuits, BackendStuck("disk full", "", 30.0))
        clock.sleep(pause_s - 1)
        circuits.check_due()
        assert circuits.open_names == ("mock",)
        clock.sleep(2)
        circuits.check_due()
        assert circuits.open_names == ()

    circuits.note_answer("mock")
    _refuse(circuits, BackendStuck("disk full", "", 30.0))
    clock.sleep(31)
    circuits.check_due()
    assert circuits.open_names == ()


def test_a_check_that_raises_closes_nothing(circuits: Circuits, backend: Any, clock: Any) -> None:
    def fail() -> Health:
        raise ZeroDivisionError

    backend.check = fail
    _refuse(circuits, running=1)
    clock.sleep(6)
    circuits.check_due()

    assert circuits.open_names == ("mock",)


def test_it_is_known_since_when_a_backend_refuses_everything(
    circuits: Circuits, backend: Any, clock: Any
) -> None:
    backend.health = Health("ok")
    _refuse(circuits, running=1)
    clock.sleep(100)
    circuits.check_due()
    _refuse(circuits, running=1)
    clock.sleep(50)
    assert circuits.away_for_s("mock") == pytest.approx(150)

    circuits.note_answer("mock")
    assert circuits.away_for_s("mock") == 0
    assert circuits.open_names == ()


def test_a_job_that_is_refused_again_after_others_were_drawn_is_singled_out(
    circuits: Circuits,
) -> None:
    job_id = uuid4()

    assert circuits.note_refusal("mock", job_id, AWAY) == Refusal(1)
    assert circuits.note_refusal("mock", job_id, AWAY) == Refusal(2), "nothing was drawn meanwhile"
    circuits.note_answer("mock")
    assert circuits.note_refusal("mock", job_id, AWAY) == Refusal(3, is_singled_out=True)
    assert circuits.note_refusal("mock", uuid4(), AWAY) == Refusal(1)


def test_its_thread_tells_of_every_change_and_closes_it_when_the_backend_is_back(
    backend: Any,
) -> None:
    seen: list[tuple[str, ...]] = []
    is_closed = threading.Event()

    def hear() -> None:
        seen.append(circuits.open_names)
        if circuits.open_names:
            backend.health = Health("ok")
        else:
            is_closed.set()

    circuits = Circuits(lambda _name: backend, SystemClock(), check_s=0.01, on_change=hear)
    circuits.start()
    _refuse(circuits, running=1)

    assert is_closed.wait(30)
    circuits.stop()
    assert seen == [("mock",), ()]


def test_it_says_once_that_it_opened(
    circuits: Circuits, caplog: pytest.LogCaptureFixture, clock: Any
) -> None:
    caplog.set_level("INFO", logger="imagen.services.draw.circuit")
    for _ in range(5):
        _refuse(circuits, running=1)
        clock.sleep(6)
        circuits.check_due()

    assert [record.message for record in caplog.records] == ["circuit_opened"]
