"""A job that crashed a worker before runs alone in its process."""

from __future__ import annotations

from imagen.services.draw.isolation import IsolationGate


def test_usually_everybody_may_enter_for_jobs_that_never_crashed() -> None:
    crowd = IsolationGate()

    with crowd.entering() as first, crowd.entering() as second:
        assert (first, second) == (False, False)


def test_who_wants_to_be_alone_waits_until_the_others_have_left() -> None:
    crowd = IsolationGate()
    with crowd.entering():
        crowd.want_alone()
        with crowd.entering() as refused:
            assert refused is None

    with crowd.entering() as alone:
        assert alone is True


def test_nobody_enters_while_one_is_alone() -> None:
    crowd = IsolationGate()
    crowd.want_alone()
    with crowd.entering() as alone, crowd.entering() as refused:
        assert alone is True
        assert refused is None

    with crowd.entering() as usual:
        assert usual is False


def test_being_alone_is_had_once_for_each_wish() -> None:
    crowd = IsolationGate()
    crowd.want_alone()
    crowd.want_alone()

    admitted = []
    for _ in range(3):
        with crowd.entering() as crashed:
            admitted.append(crashed)

    assert admitted == [True, False, False]


def test_a_wish_made_while_one_is_alone_is_kept() -> None:
    crowd = IsolationGate()
    crowd.want_alone()
    with crowd.entering():
        crowd.want_alone()

    with crowd.entering() as alone:
        assert alone is True


def test_who_dies_inside_leaves() -> None:
    crowd = IsolationGate()
    crowd.want_alone()
    try:
        with crowd.entering():
            raise RuntimeError
    except RuntimeError:
        pass

    with crowd.entering() as usual:
        assert usual is False
