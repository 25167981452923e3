"""``imagen db``: the ledger's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.options.options import config_option, json_option
from imagen.cli.shell import Shell
from imagen.errors import LedgerOutdated

if TYPE_CHECKING:
    from imagen.ledger.store.engine import Ledger


@click.group()
def db() -> None:
    """The ledger's schema: which one it has, and the newest."""


@db.command(short_help="Bring the ledger to the newest schema.")
@json_option
@config_option
@click.pass_obj
def upgrade(shell: Shell, config: str | None) -> None:
    """Bring the ledger to the newest schema this imagen knows. Doing it twice is safe."""
    from imagen.ledger.store.migrate import HEAD_REVISION, current_revision
    from imagen.ledger.store.migrate import upgrade as upgrade_schema

    with shell.imagen(config) as imagen:
        ledger = imagen.open_ledger()
        try:
            before = current_revision(ledger)
            _refuse_newer(ledger, before)
            if before != HEAD_REVISION:
                upgrade_schema(ledger)
        finally:
            ledger.close()
    _answer(shell, ledger, HEAD_REVISION, HEAD_REVISION)
    if before == HEAD_REVISION:
        shell.screen.say("nothing to do")


@db.command(short_help="Print which schema the ledger has.")
@json_option
@config_option
@click.pass_obj
def current(shell: Shell, config: str | None) -> None:
    """Print which schema the ledger has; `none` where it is not made yet."""
    from imagen.ledger.store.migrate import HEAD_REVISION, current_revision

    with shell.imagen(config) as imagen:
        ledger = imagen.open_ledger()
        try:
            # Looking at a SQLite file that is not there would make it.
            is_there = ledger.path is None or ledger.path.exists()
            found = current_revision(ledger) if is_there else None
        finally:
            ledger.close()
    _answer(shell, ledger, found, HEAD_REVISION)
    if found != HEAD_REVISION:
        shell.screen.say(f"this imagen knows {HEAD_REVISION}; run: imagen db upgrade")


@db.command(short_help="Print the schema as SQL, for an SQL editor.")
@click.pass_obj
def sql(shell: Shell) -> None:
    """Print the whole schema as SQL for PostgreSQL, for those who have only an SQL editor.

    It may be run again at any time: what is there stays, what is missing is made. Afterwards
    `imagen db upgrade` has nothing left to do.
    """
    from imagen.ledger.store.schema_sql import render_sql

    shell.screen.answer(render_sql().rstrip("\n"))


def _refuse_newer(ledger: Ledger, found: str | None) -> None:
    from imagen.ledger.store.migrate import known_revisions

    if found is not None and found not in known_revisions():
        raise LedgerOutdated(
            f"the ledger at {ledger.address} has schema {found}, which this imagen does not know",
            "upgrade imagen",
        )


def _answer(shell: Shell, ledger: Ledger, found: str | None, newest: str) -> None:
    if shell.wants_json:
        facts = {"ledger": ledger.address, "schema": found, "newest": newest, "error": None}
        shell.screen.answer_json(facts)
        return
    shell.screen.answer(found or "none")
    shell.screen.say(f"ledger: {ledger.address}")
