"""The ``imagen`` command: the list of its commands, and the handling of every error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from imagen import __version__
from imagen.cli.lazy import Entry, LazyGroup
from imagen.cli.screen.error_lines import report
from imagen.cli.screen.streams import OutputFailed, guard_streams
from imagen.cli.shell import Shell, open_shell

COMMANDS = {
    "generate": Entry("imagen.cli.draw.generate:generate", "Draw one image and print its path."),
    "batch": Entry("imagen.cli.draw.batch:batch", "Draw every line of a file; run again to go on."),
    "jobs": Entry("imagen.cli.jobs.group:jobs", "List, wait for, resume, cancel, retry jobs."),
    "show": Entry("imagen.cli.draw.show_image:show", "What an image file says about itself."),
    "usage": Entry("imagen.cli.money.usage:usage", "What was drawn, and what it cost."),
    "sync": Entry("imagen.cli.money.sync:sync", "Send usage and copies that are still to go out."),
    "backends": Entry(
        "imagen.cli.setup.backends:backends", "What can draw, and whether it can now."
    ),
    "config": Entry("imagen.cli.setup.config:config", "Make, check and find the configuration."),
    "worker": Entry("imagen.cli.setup.worker:worker", "Draw waiting jobs until told to stop."),
    "workers": Entry("imagen.cli.setup.workers:workers", "Which workers are alive, and well."),
    "db": Entry("imagen.cli.setup.db:db", "The ledger's schema: which one, and the newest."),
    "doctor": Entry("imagen.cli.setup.doctor:doctor", "Look at everything, and say what to mend."),
    "version": Entry(
        "imagen.cli.setup.version:version", "Versions of imagen, Python and the ledger."
    ),
}

EPILOG = """\b
Exit codes: 0 done, 1 a job failed, 2 usage, 3 configuration or credentials,
4 some of a batch failed, 5 something is unreachable, 6 gave up waiting,
7 out of credit, 8 refused by moderation, 9 the answer could not be written,
130 interrupted."""


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", message="imagen %(version)s")
def cli() -> None:
    """Draw images from prompts, one at a time or by the ten thousand.

    \b
    imagen generate "a lighthouse at dawn" --backend mock
    imagen batch prompts.txt --backend mock
    """


def main() -> None:
    """The entry point of the ``imagen`` script."""
    guard_streams()
    sys.exit(run(sys.argv[1:], open_shell()))


def run(arguments: Sequence[str], shell: Shell) -> int:
    """Run one command line; returns its exit code. Catches everything."""
    # Set before parsing, so that a usage error is a JSON answer too.
    words = list(arguments)
    shell.words = words
    shell.wants_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    try:
        with shell.interrupt.watching():
            result: Any = cli.main(words, prog_name="imagen", obj=shell, standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except SystemExit:
        # Shell completion in click ends this way.
        raise
    except BaseException as error:
        return _reported(shell, error)
    return result if isinstance(result, int) else 0


def _reported(shell: Shell, error: BaseException) -> int:
    try:
        return report(shell, error)
    except OutputFailed as failed:
        return report(shell, failed)
