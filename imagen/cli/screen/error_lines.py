"""Reports every error: one line for people, one JSON object for programs, and an exit code."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
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
            _tell_failure(shell, error.error, error.facts)
            return error.exit_code
        case ImagenError():
            _tell_failure(shell, error, {})
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            shell.screen.say(error.format_message())
            return error.exit_code
        case click.ClickException():
            return _report_usage(shell, error)
        case Interrupted():
            return _report_interrupt(shell, error)
        case OutputClosed():
            return EXIT_BROKEN_PIPE
        case OutputFailed():
            message = f"the answer cannot be written to standard output: {error.reason}"
            tell(shell.screen, message, shell.interrupt.how_to_go_on)
            return EXIT_OUTPUT_FAILED
        case _:
            return _report_unexpected(shell, error)


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


def _tell_failure(shell: Shell, error: ImagenError, facts: Mapping[str, Any]) -> None:
    if shell.wants_json:
        shell.screen.answer_json({**facts, "error": error.to_json()})
    tell(shell.screen, error.message, error.hint)


def _report_usage(shell: Shell, error: click.ClickException) -> int:
    message = error.format_message().strip().removesuffix(".").replace("\n", " ")
    if message[:1].isupper() and message[1:2].islower():
        message = message[0].lower() + message[1:]
    context = getattr(error, "ctx", None)
    hint = getattr(error, "hint", "") or (f"{context.command_path} --help" if context else "")
    if shell.wants_json:
        failure = {"code": "usage", "message": message, "hint": hint}
        shell.screen.answer_json({"error": failure})
    tell(shell.screen, message, hint)
    return error.exit_code


def _report_interrupt(shell: Shell, error: Interrupted) -> int:
    hint = shell.interrupt.how_to_go_on
    if shell.wants_json:
        failure = {"code": "interrupted", "message": "interrupted", "hint": hint}
        shell.screen.answer_json({**shell.interrupt.facts, "error": failure})
    shell.screen.clear_line()
    tell(shell.screen, "interrupted", hint)
    return error.exit_code


def _report_unexpected(shell: Shell, error: BaseException) -> int:
    # The message of a foreign error may contain a secret, so only its type is told.
    message = f"failed with {type(error).__name__}, which is a bug in imagen"
    hint = "see where with: IMAGEN_DEBUG=1"
    if shell.wants_json:
        failure = {"code": "unexpected", "message": message, "hint": hint}
        shell.screen.answer_json({"error": failure})
    if shell.env.get("IMAGEN_DEBUG"):
        shell.screen.say("".join(traceback.format_exception(error)).rstrip())
    tell(shell.screen, message, hint)
    return EXIT_UNEXPECTED
