"""What reaches a terminal, and what does not."""

from __future__ import annotations

import io

import pytest

from imagen.cli.screen.screen import Screen
from imagen.domain.printable import printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_escape_sequences_do_not_reach_the_terminal():
    assert printable("a\x1b[2Jb\rc") == "a\\x1b[2Jb\\rc"


def test_text_cannot_turn_the_line_around():
    assert "\u202e" not in printable("a\u202eb")


def test_emoji_and_line_ends_stay_as_they_are():
    family = "👩\u200d👧\n日本語"

    assert printable(family) == family


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_there_are_no_colours_where_nobody_wants_them(env):
    screen = Screen(Terminal(), Terminal(), env)

    assert screen.paint("x", "red") == "x"
    assert screen.paint_answer("x", "red") == "x"


def test_there_are_no_colours_in_a_file():
    screen = Screen(io.StringIO(), io.StringIO(), {})

    assert screen.paint("x", "red") == "x"


def test_a_terminal_has_colours():
    assert Screen(Terminal(), Terminal(), {}).paint("x", "red") == "\033[31mx\033[0m"


def test_answers_go_above_a_display_on_the_same_terminal():
    above: list[str] = []
    screen = Screen(Terminal(), Terminal(), {}, above_display=above.append)
    screen.answer("/a/path.png")

    assert above == ["/a/path.png"]


def test_answers_go_to_a_file_whatever_is_displayed():
    above: list[str] = []
    out = io.StringIO()
    screen = Screen(out, Terminal(), {}, above_display=above.append)
    screen.answer("/a/path.png")

    assert out.getvalue() == "/a/path.png\n"
    assert above == []
