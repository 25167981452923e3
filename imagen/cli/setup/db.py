"""``imagen db``: the ledger's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.services.report.ledger_schema import SchemaStatus


@click.group()
def db() -> None:
    """The ledger's schema: which one it has, and the newest."""


@db.command(short_help="Bring the ledger to the newest schema.")
@json_option
@config_option
@click.pass_obj
def upgrade(shell: Shell, config: str | None) -> None:
    """Bring the ledger to the newest schema this imagen knows. Doing it twice is safe."""
    from dataclasses import replace

    from imagen.services.report.ledger_schema import upgrade_schema
    from imagen.wiring.parts import unchecked_ledger

    with unchecked_ledger(shell.process(config)) as ledger:
        before = upgrade_schema(ledger)
    _answer(shell, replace(before, found=before.newest))
    if before.is_newest:
        shell.screen.say("nothing to do")


@db.command(short_help="Print which schema the ledger has.")
@json_option
@config_option
@click.pass_obj
def current(shell: Shell, config: str | None) -> None:
    """Print which schema the ledger has; `none` where it is not made yet."""
    from imagen.services.report.ledger_schema import schema_status
    from imagen.wiring.parts import unchecked_ledger

    with unchecked_ledger(shell.process(config)) as ledger:
        status = schema_status(ledger)
    _answer(shell, status)
    if not status.is_newest:
        shell.screen.say(f"this imagen knows {status.newest}; run: imagen db upgrade")


@db.command(short_help="Print the schema as SQL, for an SQL editor.")
@click.pass_obj
def sql(shell: Shell) -> None:
    """Print the whole schema as SQL for PostgreSQL, for those who have only an SQL editor.

    It may be run again at any time: what is there stays, what is missing is made. Afterwards
    `imagen db upgrade` has nothing left to do.
    """
    from imagen.services.report.ledger_schema import schema_as_sql

    shell.screen.answer(schema_as_sql())


def _answer(shell: Shell, status: SchemaStatus) -> None:
    if shell.wants_json:
        shell.screen.answer_json(status.to_json() | {"error": None})
        return
    shell.screen.answer(status.found or "none")
    shell.screen.say(f"ledger: {status.address}")
