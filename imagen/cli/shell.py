"""One invocation of the command line: its environment, its streams, and the parts it opens."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from imagen.cli.screen.interrupt import Interrupt
from imagen.cli.screen.screen import Screen, standard_screen
from imagen.errors import ImagenError, unreadable_stdin

if TYPE_CHECKING:
    from imagen.backends.registry import Registry
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process


@dataclass
class Shell:
    """One invocation of the command line."""

    env: Mapping[str, str]
    screen: Screen
    #: What was typed after ``imagen``.
    words: Sequence[str] = ()
    interrupt: Interrupt = field(default_factory=Interrupt)
    #: ``--json``: one JSON object on stdout, also when the command fails.
    wants_json: bool = False
    #: The run has ended; what its threads still log is written only if it is an error.
    is_over: bool = False

    @property
    def command(self) -> str:
        """The command line as it can be pasted into a shell."""
        return shlex.join(["imagen", *self.words])

    @property
    def stdin(self) -> IO[bytes]:
        return sys.stdin.buffer

    def read_stdin(self, most_bytes: int) -> bytes:
        """The beginning of standard input.

        Raises:
            RequestError: it is closed, or cannot be read.
        """
        try:
            return self.stdin.read(most_bytes)
        except OSError as error:
            raise unreadable_stdin(error) from error

    def process(self, config: str | None) -> Process:
        """This process with the configuration of ``--config``; opens nothing.

        Raises:
            ConfigError: the configuration is wrong.
        """
        # SQLAlchemy, pydantic and YAML take 0.2 s to import: not for `imagen --help`.
        from imagen.wiring.process import open_process

        return open_process(config, self.env)

    @contextmanager
    def ledger(self, config: str | None) -> Iterator[tuple[Process, Ledger]]:
        """This process and its ledger, which is closed at the end.

        Raises:
            ConfigError: the configuration is wrong.
            LedgerError: the ledger cannot be used.
        """
        from imagen.wiring.parts import opened_ledger

        process = self.process(config)
        with opened_ledger(process) as ledger:
            yield process, ledger

    @contextmanager
    def backends(self, config: str | None) -> Iterator[tuple[Process, Ledger, Registry]]:
        """As ``ledger``, with the configured backends; finding the installed ones takes 0.1 s."""
        from imagen.wiring.parts import opened_registry

        with self.ledger(config) as (process, ledger), opened_registry(process, ledger) as found:
            yield process, ledger, found


class Failed(Exception):
    """A command ends without success: the error, and what ``--json`` says besides.

    ``exit_code`` is for what no single error stands for, such as "some of a batch failed".
    """

    def __init__(
        self,
        error: ImagenError,
        facts: Mapping[str, Any] | None = None,
        *,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(error, facts)
        self.error = error
        self.facts = dict(facts or {})
        self.exit_code = error.exit_code if exit_code is None else exit_code


def open_shell() -> Shell:
    """The process's own shell."""
    env = dict(os.environ)
    if not env.get("HOME"):
        # Some containers run under a user without a home; the ledger then says what to set.
        home = os.path.expanduser("~")
        env["HOME"] = home if os.path.isabs(home) else "/nonexistent"
    return Shell(env, standard_screen(env))
