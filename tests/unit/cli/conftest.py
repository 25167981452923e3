"""One command line after another, in this process, each with what it printed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagen.cli.main import run
from imagen.cli.screen.screen import Screen
from imagen.cli.shell import Shell


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer = json.loads(self.out)
        assert isinstance(answer, dict)
        return answer


@dataclass
class FakeStdin:
    """A shell whose standard input holds these bytes."""

    content: bytes

    @property
    def buffer(self) -> io.BytesIO:
        return io.BytesIO(self.content)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def has_ledger(made_ledger: Path) -> None:
    """Every command here finds a ledger."""


Typing = Callable[..., Done]


@pytest.fixture
def imagen(monkeypatch: pytest.MonkeyPatch) -> Typing:
    """Runs ``imagen …`` as typed; ``stdin`` in bytes, ``env`` besides the test's own."""

    def type_(
        *words: str,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        terminal: bool = False,
    ) -> Done:
        monkeypatch.setattr("sys.stdin", FakeStdin(stdin))
        stream = Terminal if terminal else io.StringIO
        environment = {**os.environ, **(env or {})}
        out, err = stream(), stream()
        code = run(words, Shell(environment, Screen(out, err, environment)))
        return Done(code, out.getvalue(), err.getvalue())

    return type_


@pytest.fixture
def draw(imagen: Typing) -> Typing:
    """Runs ``imagen generate … --backend mock --size 64x64``."""

    def draw_(*words: str, **rest: Any) -> Done:
        return imagen("generate", "--backend", "mock", "--size", "64x64", *words, **rest)

    return draw_


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the configuration that the commands of this test read."""

    def write(text: str) -> Path:
        path = tmp_path / "imagen.yaml"
        path.write_text(text)
        monkeypatch.setenv("IMAGEN_CONFIG", str(path))
        return path

    return write
