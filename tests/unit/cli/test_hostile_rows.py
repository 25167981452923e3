"""Whatever stands in a ledger, no command hands a terminal anything that it would obey."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import pytest
from sqlalchemy import String, insert, select, update

from imagen.cli.main import cli
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.indexes import whole_metadata
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.tables import attempts, batches, jobs, pauses, workers

#: A window title (OSC), colours and hidden text (CSI), the same as C1 codes, a bell, a cursor that
#: goes back, text that runs the other way, and a line that looks like one of ours.
HOSTILE = (
    "\x1b]0;pwned\x07\x1b[2J\x1b[31;8m\x9b2J\x9d0;pwned\x9c\x07\r\b\u202egnp\u200f"
    "\nimagen: all is well"
)
#: What the ledger checks, or what rows are found by.
_KEPT = {
    *("id", "key", "state", "external_id", "phase", "queue", "owner", "sha256", "dedupe_key"),
    "error_code",
    *("name", "sync", "delivery_host", "owner_user_id", "value", "file_sha256", "sink", "code"),
}
#: Without the live display, which writes codes of its own.
ENV = {"NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def hostile_ledger(
    imagen: Any, draw: Any, configure: Any, made_ledger: Path, tmp_path: Path
) -> Iterator[Ledger]:
    """A ledger with a job in each state, whose texts are all hostile."""
    configure("default_backend: mock\n")
    (tmp_path / "prompts.txt").write_text("a fox\nan owl\n")
    imagen("batch", "prompts.txt", "--backend", "mock", "--size", "64x64", "--name", "odd")
    for _ in range(4):
        draw("a fox")
    draw(HOSTILE, "--output", "fox.png", env={"IMAGEN_CALLER": HOSTILE})
    ledger = open_ledger("", default_path=made_ledger)
    _poison(ledger)
    yield ledger
    ledger.close()


def _poison(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    with ledger.write() as connection:
        for table in whole_metadata.sorted_tables:
            texts = [c.name for c in table.columns if isinstance(c.type, String)]
            values = {name: HOSTILE for name in texts if name not in _KEPT}
            if values and table.name not in ("locks", "meta", "pauses", "workers"):
                connection.execute(update(table).values(**values))
        request = connection.scalar(select(jobs.c.request).limit(1))
        output = connection.scalar(select(jobs.c.output).limit(1))
        hostile = {"user_prompt": HOSTILE, "prompt": HOSTILE, "negative": HOSTILE}
        hostile |= {"style": HOSTILE, "options": {HOSTILE: HOSTILE}}
        connection.execute(
            update(jobs).values(
                request={**request, **hostile},
                output={**output, "folder": f"/tmp/{HOSTILE}", "name": HOSTILE},
            )
        )
        connection.execute(update(attempts).values(details={HOSTILE: HOSTILE}, is_metered=True))
        for attempt_id in list(connection.scalars(select(attempts.c.id))):
            where = attempts.c.id == attempt_id
            values = {"external_id": f"{attempt_id}{HOSTILE}"}
            connection.execute(update(attempts).where(where).values(**values))
        connection.execute(update(batches).values(name=f"odd {HOSTILE}"))
        ids = list(connection.scalars(select(jobs.c.id).order_by(jobs.c.id)))
        states = ("failed", "canceled", "queued", "running", "generated")
        for job_id, state in zip(ids, states, strict=False):
            values = {"state": state, "error_code": "backend"}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
        for job_id in ids[:5]:
            when = {"lease_expires_at": now + timedelta(hours=1)}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**when))
        connection.execute(insert(pauses).values(backend="mock", reason=HOSTILE, created_at=now))
        connection.execute(
            insert(workers).values(
                owner=HOSTILE,
                host=HOSTILE,
                role="gpu",
                queues=[HOSTILE],
                backends=[HOSTILE],
                model=HOSTILE,
                started_at=now,
                seen_at=now,
            )
        )


def ids_of(ledger: Ledger) -> dict[str, UUID]:
    with ledger.read() as connection:
        rows = connection.execute(select(jobs.c.state, jobs.c.id)).all()
    return {row.state: row.id for row in rows}


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that can be typed."""
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


#: What is typed for each command; several lines where it answers in several forms. ``@STATE`` is
#: the id of a job in that state.
WALK: dict[str, list[str]] = {
    "generate": ["generate x --backend mock --size 64x64 --timeout 0.2"],
    "batch": [
        "batch prompts.txt --name odd --backend mock --size 64x64 --timeout 0.2",
        "batch prompts.txt --name odd --backend mock --size 64x64 --timeout 0.2 --json",
    ],
    "jobs ls": ["jobs ls", "jobs ls --json", "jobs ls --limit 2", "jobs ls --batch odd"],
    "jobs show": [
        *(f"jobs show @{state}" for state in ("succeeded", "failed", "queued", "running")),
        "jobs show @failed --json",
        "jobs show 0",
    ],
    "jobs wait": ["jobs wait @succeeded", "jobs wait @failed @canceled", "jobs wait @failed"],
    "jobs resume": ["jobs resume @succeeded @failed", "jobs resume --all --timeout 0.2"],
    "jobs cancel": ["jobs cancel @succeeded @queued"],
    "jobs retry": ["jobs retry @failed --timeout 0.2", "jobs retry --failed --timeout 0.2"],
    "show": ["show fox.png", "show fox.png --json"],
    "usage": ["usage", "usage --json", "usage --raw", "usage --raw --json", "usage --csv"],
    "sync": ["sync", "sync --status", "sync --status --json"],
    "backends list": ["backends", "backends --json"],
    "backends pause": ["backends pause mock --reason x"],
    "backends resume": ["backends resume mock"],
    "config init": ["config init"],
    "config validate": ["config validate"],
    "config path": ["config path"],
    "worker": ["worker gpu"],
    "workers": ["workers", "workers --json"],
    "db upgrade": ["db upgrade"],
    "db current": ["db current"],
    "db sql": ["db sql"],
    "doctor": ["doctor", "doctor --json"],
    "version": ["version"],
}


RAW = ("jobs wait", "jobs resume", "jobs retry")
#: A worker's messages are records of its log: see test_log.
LINES = [(name, line) for name, lines in WALK.items() if name != "worker" for line in lines]


def test_the_walk_goes_through_every_command() -> None:
    assert {" ".join(path) for path in leaves(cli)} == set(WALK)


def controls_in(text: str) -> set[str]:
    """What a terminal would obey, but for line ends and tabs."""
    return {
        character
        for character in text
        if character not in "\n\t\u200d" and unicodedata.category(character) in ("Cc", "Cf", "Cs")
    }


@pytest.mark.parametrize("terminal", [True, False])
def test_no_command_hands_control_characters_of_a_ledger_to_a_terminal(
    imagen: Any,
    hostile_ledger: Ledger,
    made_ledger: Path,
    terminal: bool,
) -> None:
    ids = ids_of(hostile_ledger)
    hostile_ledger.close()
    poisoned = made_ledger.read_bytes()
    leaks = {}
    for command, line in LINES:
        # As it was: what a command does to the rows must not hide them from the next one.
        made_ledger.write_bytes(poisoned)
        words = [str(ids[w[1:]]) if w.startswith("@") else w for w in line.split()]
        done = imagen(*words, terminal=terminal, env=ENV)

        # Programs get paths and CSV as they are.
        is_raw = not terminal and ("--csv" in words or command in RAW)
        found = controls_in(done.err) | (set() if is_raw else controls_in(done.out))
        shown = done.err + ("" if is_raw else done.out)
        if found or "bug" in done.err or re.search("^imagen: all is well", shown, re.MULTILINE):
            leaks[line] = shown

    assert leaks == {}
