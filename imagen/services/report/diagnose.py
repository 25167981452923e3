"""Examines what a command stands on: ledger, workers, output folder, Supabase."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagen.cloud.rest import RestClient
from imagen.cloud.settings import SupabaseSettings
from imagen.cloud.storage import Storage
from imagen.errors import ImagenError
from imagen.ledger.jobs.pauses import count_paused
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import current_revision
from imagen.services.deliver.preview import require_preview
from imagen.services.report.live_workers import describe_outages
from imagen.services.sync.destinations import missing_usage_columns
from imagen.services.sync.unsent import count_unsent

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
    except Exception as error:
        # What a doctor stumbles over must not keep it from looking at the rest. Only the type is
        # told: a message of another program's may hold an address with its password.
        return Finding(what, "broken", f"looking at it failed with {type(error).__name__}")


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
    """What live workers cannot reach; empty where they reach all, or the ledger cannot be read."""
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


def examine_pauses(ledger: Ledger) -> list[Finding]:
    """Each paused backend that jobs wait for.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    return [
        Finding(
            f"jobs of {backend}",
            "warning",
            f"{number:,} wait, and the backend is paused: {reason}",
            f"imagen backends resume {backend}",
        )
        for backend, (reason, number) in count_paused(ledger).items()
    ]


def examine_preview(setting: str, *, command: str, env: Mapping[str, str]) -> list[Finding]:
    """What keeps a preview from opening that is asked for with each image."""
    if setting != "on":
        return []
    try:
        require_preview(command=command, env=env)
    except ImagenError as error:
        why = f"output.preview is on, but: {error.message}"
        return [Finding("preview", "warning", why, "set output.preview to auto")]
    return []


def describe_storage(settings: SupabaseSettings) -> str:
    """Whether the project's Storage answers to the key, and has the bucket.

    Raises:
        CloudError: it does not.
    """
    bucket = Storage(settings).find_bucket()
    return f"{settings.url}, " + ("bucket is there" if bucket else "bucket is made at first use")


def describe_rest(settings: SupabaseSettings) -> str:
    """Whether the project's REST API answers to the key, and shows the tables that are used.

    Raises:
        CloudError: it does not.
    """
    missing = missing_usage_columns(RestClient(settings))
    if missing:
        return f"tables are there; the usage table lacks {', '.join(missing)}"
    return "tables are there"
