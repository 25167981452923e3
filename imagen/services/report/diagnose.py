"""Examines what a drawing needs: configuration, ledger, workers, backends, folder, Supabase."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagen.backends.registry import Registry
from imagen.cloud.rest import RestClient
from imagen.cloud.settings import (
    SupabaseSettings,
    missing_variables,
    names_project,
    read_settings,
)
from imagen.cloud.storage import Storage
from imagen.config.load import find_config, load_config, shown_path
from imagen.config.schema import Config
from imagen.domain.drawn import Health
from imagen.errors import ImagenError
from imagen.ledger.jobs.pauses import count_paused
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import current_revision
from imagen.services.deliver.tmux_preview import require_preview
from imagen.services.report.backend_health import check_backends
from imagen.services.report.live_workers import describe_outages, view_workers
from imagen.services.sync.image_upload import require_images_table
from imagen.services.sync.unsent import sync_status
from imagen.services.sync.usage_upload import missing_usage_columns

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
        # One failing look must not end the others. Only the type is told: the message of another
        # program may hold an address with its password.
        return Finding(what, "broken", f"looking at it failed with {type(error).__name__}")


def examine_config(named: str | None, env: Mapping[str, str]) -> tuple[Config, list[Finding]]:
    """The configuration, or the built-in values to go on with where it cannot be read."""
    try:
        path = find_config(named, env)
        config = load_config(path, env)
    except ImagenError as error:
        problems = [
            Finding("config", "broken", line, error.hint) for line in error.message.split("\n")
        ]
        rest = Finding("config", "warning", "the rest is looked at with the built-in values")
        return _built_in_config(env), [*problems, rest]
    shown = shown_path(path, env) if path else "no file; the built-in defaults hold"
    return config, [Finding("config", "ok", shown)]


def _built_in_config(env: Mapping[str, str]) -> Config:
    try:
        return load_config(None, env)
    except ImagenError:
        # A variable of the environment is wrong.
        return Config()


def describe_ledger(ledger: Ledger, *, sends_usage: bool) -> str:
    """Where the ledger is, its schema, and what waits to leave it.

    Raises:
        LedgerError: it cannot be used.
    """
    revision = current_revision(ledger)
    unsent = sync_status(ledger, sends_usage=sends_usage, counts_kept=sends_usage).number
    waiting = f", {unsent:,} to send (imagen sync)" if unsent else ""
    return f"{ledger.kind} at {ledger.address}, schema {revision}{waiting}"


def describe_workers(ledger: Ledger, *, within_s: float) -> str:
    """Which workers reported themselves lately.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    found = view_workers(ledger, within_s=within_s)
    return ", ".join(f"{each.worker.role} on {each.worker.host}" for each in found) or "none alive"


def examine_outages(ledger: Ledger, *, within_s: float) -> list[Finding]:
    """What live workers cannot reach; empty where they reach all, or the ledger cannot be read."""
    try:
        outages = describe_outages(ledger, within_s=within_s)
    except ImagenError:
        return []
    hint = "other workers draw meanwhile; it is checked until it answers"
    return [
        Finding(f"backend {name}", "warning", sentence, hint)
        for name, sentences in outages.items()
        for sentence in sentences
    ]


def examine_backends(registry: Registry, *, default: str) -> list[Finding]:
    """Whether each configured backend can draw now; takes at most six seconds."""
    checked = check_backends(registry, registry.names())
    return [
        _examine_backend(name, health, is_default=name == default)
        for name, health in checked.items()
    ]


def _examine_backend(name: str, health: Health | None, *, is_default: bool) -> Finding:
    what = f"backend {name}" + (" (default)" if is_default else "")
    if health is not None and health.is_ok:
        state = "warning" if health.warnings else "ok"
        return Finding(what, state, "; ".join([health.reason or "ok", *health.warnings]))
    # Drawing does not need the backends that are not the default.
    state = "broken" if is_default else "warning"
    if health is None:
        return Finding(what, state, "no answer")
    reason = (health.reason or health.state).removeprefix(f"backend {name!r} ")
    return Finding(what, state, reason, health.hint.removesuffix("try: imagen doctor").strip())


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


def examine_supabase(env: Mapping[str, str], *, cloud_sync: str) -> list[Finding]:
    """Whether the project that the environment names takes images and usage."""
    try:
        settings = read_settings(env)
    except ImagenError as error:
        return [Finding("supabase", "broken", error.message, error.hint)]
    if settings is not None:
        return [
            examine("supabase storage", lambda: _describe_storage(settings)),
            examine("supabase rest", lambda: _describe_rest(settings)),
        ]
    if not names_project(env) and cloud_sync != "on":
        return [Finding("supabase", "ok", "not configured; images and usage stay here")]
    missing = " and ".join(missing_variables(env))
    state = "broken" if cloud_sync == "on" else "warning"
    why = f"{missing} is not set; images and usage stay here"
    return [Finding("supabase", state, why, f"set {missing}")]


def _describe_storage(settings: SupabaseSettings) -> str:
    bucket = Storage(settings).find_bucket()
    return f"{settings.url}, " + ("bucket is there" if bucket else "bucket is made at first use")


def _describe_rest(settings: SupabaseSettings) -> str:
    rest = RestClient(settings)
    require_images_table(rest)
    missing = missing_usage_columns(rest)
    if missing:
        return f"tables are there; the usage table lacks {', '.join(missing)}"
    return "tables are there"
