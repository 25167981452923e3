"""``imagen version``: what to put into a bug report."""

from __future__ import annotations

import platform
import sys

import click

from imagen import __version__
from imagen.cli.options.standard import json_option
from imagen.cli.shell import Shell


@click.command(short_help="Versions of imagen, Python and the ledger.")
@json_option
@click.pass_obj
def version(shell: Shell) -> None:
    """Print the versions of imagen, Python and the ledger's schema."""
    from imagen.services.report.ledger_schema import NEWEST_SCHEMA

    facts = {
        "imagen": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "ledger_schema": NEWEST_SCHEMA,
        "executable": sys.executable,
    }
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})
        return
    shell.screen.answer(f"imagen {facts['imagen']}")
    shell.screen.answer(f"Python {facts['python']} on {facts['platform']}")
    shell.screen.answer(f"ledger schema {facts['ledger_schema']}")
