"""``imagen doctor``: looks at everything a drawing needs, and says what to mend."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from imagen.cli.options import config_option, json_option
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.bootstrap import Imagen
    from imagen.domain.drawn import Health
    from imagen.services.doctor import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "broken": "red"}
_PATIENCE_S = 6.0
#: What is broken when only backends are that nobody asked for.
_EXIT_BROKEN = 5


@click.command(short_help="Look at everything, and say what to mend.")
@json_option
@config_option
@click.pass_obj
def doctor(shell: Shell, config: str | None) -> None:
    """Look at configuration, ledger, broker, workers, backends, output folder and Supabase.

    Draws nothing and costs nothing. Exits with 5 when the default way to draw is broken.
    """
    from imagen.cli.log import set_up_logging

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        findings = _findings(shell, imagen, config)
    facts = {"findings": [asdict(each) for each in findings]}
    if not shell.wants_json:
        for each in findings:
            shell.screen.answer(_line(shell, each))
    if any(each.state == "broken" for each in findings):
        error = ImagenError("something is broken", "mend what is marked broken")
        raise Failed(error, facts, exit_code=_EXIT_BROKEN)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})


def _findings(shell: Shell, imagen: Imagen, config: str | None) -> list[Finding]:
    from pathlib import Path

    from imagen.config.load import find_config, shown_path
    from imagen.services.doctor import (
        Finding,
        describe_workers,
        examine,
        examine_folder,
        examine_outages,
    )

    path = find_config(config, shell.env)
    configured = shown_path(path, shell.env) if path else "no file; the built-in defaults hold"
    ledger = examine("ledger", lambda: _describe_ledger(imagen))
    found = [Finding("config", "ok", configured), ledger]
    folder = Path(imagen.config.output.dir).expanduser().absolute()
    found.append(examine_folder(folder))
    if imagen.has_broker:
        found.append(examine("broker", lambda: _describe_broker(imagen)))
        lease_s = imagen.config.workers.lease_s
        found.append(examine("workers", lambda: describe_workers(imagen.ledger, within_s=lease_s)))
        if ledger.state == "ok":
            found += examine_outages(imagen.ledger, within_s=lease_s)
    if ledger.state == "ok":
        found += _backends(imagen)
    found.append(_supabase(imagen))
    return found


def _describe_ledger(imagen: Imagen) -> str:
    from imagen.services.doctor import describe_ledger

    return describe_ledger(imagen.ledger, sends_usage=imagen.sends_usage)


def _describe_broker(imagen: Imagen) -> str:
    from imagen.queue.connection import ping

    return ping(imagen.config.queue.broker_url)


def _backends(imagen: Imagen) -> list[Finding]:
    from imagen.cli.alternatives import check_all

    checked = check_all(imagen.registry, imagen.registry.names(), patience_s=_PATIENCE_S)
    default = imagen.config.default_backend
    return [
        _of_backend(name, health, is_default=name == default) for name, health in checked.items()
    ]


def _of_backend(name: str, health: Health | None, *, is_default: bool) -> Finding:
    from imagen.services.doctor import Finding

    what = f"backend {name}" + (" (default)" if is_default else "")
    if health is not None and health.is_ok:
        state = "warning" if health.warnings else "ok"
        return Finding(what, state, "; ".join([health.reason or "ok", *health.warnings]))
    # One that nobody draws with by default is no reason to call the doctor's verdict bad.
    state = "broken" if is_default else "warning"
    if health is None:
        return Finding(what, state, "no answer")
    reason = (health.reason or health.state).removeprefix(f"backend {name!r} ")
    # Whoever reads this has asked the doctor already.
    return Finding(what, state, reason, health.hint.removesuffix("try: imagen doctor").strip())


def _supabase(imagen: Imagen) -> Finding:
    from imagen.cloud.settings import read_settings
    from imagen.services.doctor import Finding, describe_supabase, examine

    if not imagen.has_supabase:
        return Finding("supabase", "ok", "not configured; images and usage stay here")

    def look() -> str:
        settings = read_settings(imagen.env)
        return "not configured" if settings is None else describe_supabase(settings)

    return examine("supabase", look)


def _line(shell: Shell, finding: Finding) -> str:
    state = shell.screen.paint_answer(f"{finding.state:<8}", _COLOURS[finding.state])
    hint = f" ({printable_line(finding.hint)})" if finding.hint else ""
    return f"{state} {finding.what}: {printable_line(finding.text)}{hint}"
