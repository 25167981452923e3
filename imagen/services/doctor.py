"""Examines what a command stands on: ledger, workers, output folder, Supabase."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagen.cloud.settings import SupabaseSettings
from imagen.cloud.storage import Storage
from imagen.errors import ImagenError
from imagen.ledger.backlog import count_unsent
from imagen.ledger.engine import Ledger
from imagen.ledger.schema import current_revision
from imagen.ledger.workers import live_workers
from imagen.services.outages import describe_outages

_LITTLE_SPACE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing.

    ``state`` is ``ok``, ``warning`` (works, but) or ``broken``.
    """

    what: str
    state: str
    text: str
    hint: str = ""


def examine(what: str, look: Callable[[], str]) -> Finding:
    """The finding of ``look``, whose errors are what is broken."""
    try:
        return Finding(what, "ok", look())
    except ImagenError as error:
        return Finding(what, "broken", error.message, error.hint)


def describe_ledger(ledger: Ledger, *, sends_usage: bool) -> str:
    """Where the ledger is, its schema, and what waits to leave it.

    Raises:
        LedgerError: it cannot be used.
    """
    revision = current_revision(ledger)
    pending = sum(count_unsent(ledger, sends_usage=sends_usage).values())
    waiting = f", {pending:,} to send (imagen sync)" if pending else ""
    return f"{ledger.kind} at {ledger.address}, schema {revision}{waiting}"


def describe_workers(ledger: Ledger, *, within_s: float) -> str:
    """Which workers reported themselves lately.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    workers = live_workers(ledger, within_s=within_s)
    if not workers:
        return "none alive"
    return ", ".join(f"{worker.role} on {worker.host}" for worker in workers)


def examine_outages(ledger: Ledger, *, within_s: float) -> list[Finding]:
    """What live workers cannot reach; nothing where all is well, or the ledger cannot be asked."""
    try:
        outages = describe_outages(ledger, within_s=within_s)
    except ImagenError:
        return []
    hint = "other workers draw meanwhile; it is asked again and again"
    return [
        Finding(f"backend {name}", "warning", sentence, hint)
        for name, sentences in outages.items()
        for sentence in sentences
    ]


def examine_folder(folder: Path) -> Finding:
    """Whether images can be written to ``folder``, or to where it would be made."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("output", "broken", f"{folder} cannot be written", "set output.dir")
    free_bytes = shutil.disk_usage(existing).free
    text = f"{folder}, {free_bytes / 1e9:,.1f} GB free"
    if free_bytes < _LITTLE_SPACE_BYTES:
        return Finding("output", "warning", text, "free some space")
    return Finding("output", "ok", text)


def describe_supabase(settings: SupabaseSettings) -> str:
    """Whether the project answers to the key, and has the bucket.

    Raises:
        CloudError: it does not.
    """
    bucket = Storage(settings).find_bucket()
    return f"{settings.url}, " + ("bucket is there" if bucket else "bucket is made at first use")
