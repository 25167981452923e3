"""Reports every error: one line for people, one JSON object for programs, and an exit code."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.screen import Screen
from imagen.cli.screen.streams import OutputClosed, OutputFailed
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable
from imagen.errors import ImagenError

#: What a shell reports for a program that a closed pipe ended (128 + SIGPIPE).
EXIT_BROKEN_PIPE = 141
#: The answer could not be written to standard output, for any other reason.
EXIT_OUTPUT_FAILED = 9
EXIT_UNEXPECTED = 1


def report(shell: Shell, error: BaseException) -> int:
    """Write the error to stderr, and with ``--json`` to stdout; returns the exit code."""
    match error:
        case Failed():
            _report(shell, error.error.to_json(), error.facts)
            return error.exit_code
        case ImagenError():
            _report(shell, error.to_json())
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            shell.screen.say(error.format_message())
            return error.exit_code
        case click.ClickException():
            _report(shell, _usage_error(error))
            return error.exit_code
        case Interrupted():
            shell.screen.clear_line()
            hint = shell.interrupt.how_to_go_on
            interrupted = {"code": "interrupted", "message": "interrupted", "hint": hint}
            _report(shell, interrupted, shell.interrupt.facts)
            return error.exit_code
        case OutputClosed():
            return EXIT_BROKEN_PIPE
        case OutputFailed():
            message = f"the answer cannot be written to standard output: {error.reason}"
            tell(shell.screen, message, shell.interrupt.how_to_go_on)
            return EXIT_OUTPUT_FAILED
        case _:
            if shell.env.get("IMAGEN_DEBUG"):
                shell.screen.say("".join(traceback.format_exception(error)).rstrip())
            # The message of a foreign error may contain a secret, so only its type is told.
            message = f"failed with {type(error).__name__}, which is a bug in imagen"
            hint = "see where with: IMAGEN_DEBUG=1"
            _report(shell, {"code": "unexpected", "message": message, "hint": hint})
            return EXIT_UNEXPECTED


def tell(screen: Screen, message: str, hint: str = "") -> None:
    """Write an error to stderr; a message of several lines becomes a list of problems."""
    head = screen.paint("imagen:", "red", "bold")
    first, *more = printable(message).split("\n")
    if more:
        screen.say(f"{head} {len(more) + 1} problems")
        for line in (first, *more):
            screen.say(f"  {line}")
    else:
        screen.say(f"{head} {first}")
    for line in printable(hint).split("\n") if hint else []:
        screen.say(f"  {screen.paint('hint:', 'cyan')} {line}")


def _report(
    shell: Shell, failure: Mapping[str, str], facts: Mapping[str, Any] = MappingProxyType({})
) -> None:
    if shell.wants_json:
        shell.screen.answer_json({**facts, "error": failure})
    tell(shell.screen, failure["message"], failure["hint"])


def _usage_error(error: click.ClickException) -> dict[str, str]:
    message = error.format_message().strip().removesuffix(".").replace("\n", " ")
    if message[:1].isupper() and message[1:2].islower():
        message = message[0].lower() + message[1:]
    context = getattr(error, "ctx", None)
    hint = getattr(error, "hint", "") or (f"{context.command_path} --help" if context else "")
    return {"code": "usage", "message": message, "hint": hint}
