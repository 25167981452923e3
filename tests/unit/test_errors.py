"""The tree of errors: what holds for every one of them, ours today and whoever joins tomorrow."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from imagen import errors
from imagen.errors import (
    BackendUnavailable,
    ImagenError,
    RateLimited,
    all_error_types,
    error_type,
)

_DRAWN = re.compile(r"^(?P<indent>[| `-]*)(?P<name>[A-Z]\w+)(?:.*exit (?P<exit>\d+)|.*)$", re.M)


def _defined() -> list[type[ImagenError]]:
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    return [cls for cls in found if issubclass(cls, ImagenError)]


def _drawn() -> dict[str, tuple[str, int | None]]:
    """Class name to (name of the class it hangs on, exit code), as the module's docstring says."""
    tree, above = {}, []
    for line in _DRAWN.finditer(errors.__doc__.split("\n\n")[1]):
        depth = len(line["indent"]) // 4
        above[depth:] = [line["name"]]
        parent = above[depth - 1] if depth else "Exception"
        tree[line["name"]] = (parent, int(line["exit"]) if line["exit"] else None)
    return tree


every_error = pytest.mark.parametrize("cls", _defined(), ids=lambda cls: cls.__name__)


@every_error
def test_an_error_survives_being_made_again_from_its_arguments(cls):
    error = cls("what failed", "what to type next")

    again = cls(*error.args)

    assert (again.args, vars(again)) == (error.args, vars(error))


@every_error
def test_an_error_survives_pickling(cls):
    error = cls("what failed", "what to type next")

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is cls
    assert (again.args, vars(again)) == (error.args, vars(error))


@pytest.mark.parametrize(
    "error",
    [errors.RateLimited("slow down", "", 12.5), errors.BackendStuck("stuck", "", 90.0)],
    ids=lambda error: error.code,
)
def test_a_wait_that_an_error_carries_survives_pickling(error):
    again = pickle.loads(pickle.dumps(error))

    assert vars(again) == vars(error)


@every_error
def test_an_error_shows_its_message_and_then_what_to_type_next(cls):
    assert str(cls("what failed")) == "what failed"
    assert str(cls("what failed", "try: imagen doctor")) == "what failed (try: imagen doctor)"


@every_error
def test_an_error_is_found_by_its_code(cls):
    assert all_error_types()[cls.code] is cls
    assert error_type(cls.code) is cls


def test_every_code_belongs_to_one_error_only():
    codes = [cls.code for cls in _defined()]

    assert sorted(codes) == sorted(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_the_drawn_tree_is_the_tree():
    drawn = {name: parent for name, (parent, _) in _drawn().items()}

    assert drawn == {cls.__name__: cls.__base__.__name__ for cls in _defined()}


def test_the_drawn_exit_codes_are_the_exit_codes():
    drawn = {name: exit_code for name, (_, exit_code) in _drawn().items() if exit_code is not None}

    assert drawn == {cls.__name__: cls.exit_code for cls in _defined() if cls.__name__ in drawn}
    assert {cls.__name__ for cls in _defined()} - set(drawn) == {"ImagenError", "BackendError"}


def test_an_unknown_code_means_that_a_job_failed():
    assert {error_type(code).exit_code for code in ("something_else", "", None)} == {1}


@every_error
def test_only_an_error_that_certainly_spent_nothing_is_tried_again(cls):
    assert not (cls.retryable and cls.spent)
    assert cls.retryable == issubclass(cls, BackendUnavailable)


def test_being_rate_limited_is_a_way_of_being_unavailable():
    assert issubclass(RateLimited, BackendUnavailable)
    assert RateLimited("slow down").retry_after_s == 0.0
