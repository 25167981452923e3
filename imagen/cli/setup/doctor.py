"""``imagen doctor``: looks at everything a drawing needs, and says what to mend."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from imagen.cli.options.options import config_option, json_option
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.backends.registry import Registry
    from imagen.config.schema import Config
    from imagen.domain.drawn import Health
    from imagen.services.report.diagnose import Finding
    from imagen.wiring.bootstrap import Imagen

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
    from imagen.cli.screen.log import set_up_logging

    set_up_logging(shell)
    findings = _findings(shell, config)
    facts = {"findings": [asdict(each) for each in findings]}
    if not shell.wants_json:
        for each in findings:
            shell.screen.answer(_line(shell, each))
    if any(each.state == "broken" for each in findings):
        error = ImagenError("something is broken", "mend what is marked broken")
        raise Failed(error, facts, exit_code=_EXIT_BROKEN)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})


def _findings(shell: Shell, named: str | None) -> list[Finding]:
    from imagen.services.report.diagnose import examine_preview
    from imagen.wiring.bootstrap import Imagen

    config, found = _configuration(shell, named)
    imagen = Imagen(config, shell.env)
    try:
        ledger = _ledger(imagen)
        found += [*ledger, _output(imagen)]
        is_usable = ledger[0].state == "ok"
        if imagen.has_broker:
            found += _broker(imagen, is_ledger_usable=is_usable)
        found += _backends(
            imagen, imagen.registry if is_usable else imagen.registry_without_ledger()
        )
        found += _supabase(imagen)
        output = config.output
        found += examine_preview(output.preview, command=output.preview_command, env=shell.env)
    finally:
        imagen.close()
    return found


def _configuration(shell: Shell, named: str | None) -> tuple[Config, list[Finding]]:
    """What is configured; where that cannot be read, what is built in, to go on with."""
    from imagen.config.load import find_config, load_config, shown_path
    from imagen.config.schema import Config
    from imagen.services.report.diagnose import Finding

    try:
        path = find_config(named, shell.env)
        config = load_config(path, shell.env)
    except ImagenError as error:
        problems = [
            Finding("config", "broken", line, error.hint) for line in error.message.split("\n")
        ]
        rest = Finding("config", "warning", "the rest is looked at with the built-in values")
        try:
            return load_config(None, shell.env), [*problems, rest]
        except ImagenError:
            # It is a variable that is wrong.
            return Config(), [*problems, rest]
    shown = shown_path(path, shell.env) if path else "no file; the built-in defaults hold"
    return config, [Finding("config", "ok", shown)]


def _ledger(imagen: Imagen) -> list[Finding]:
    from imagen.services.report.diagnose import describe_ledger, examine, examine_pauses

    def look() -> str:
        return describe_ledger(imagen.ledger, sends_usage=imagen.sends_usage)

    found = examine("ledger", look)
    return [found, *examine_pauses(imagen.ledger)] if found.state == "ok" else [found]


def _output(imagen: Imagen) -> Finding:
    from pathlib import Path

    from imagen.services.report.diagnose import examine_folder

    return examine_folder(Path(imagen.config.output.dir).expanduser().absolute())


def _broker(imagen: Imagen, *, is_ledger_usable: bool) -> list[Finding]:
    from imagen.services.report.diagnose import describe_workers, examine, examine_outages

    lease_s = imagen.config.workers.lease_s
    found = [
        examine("broker", lambda: _describe_broker(imagen)),
        examine("workers", lambda: describe_workers(imagen.ledger, within_s=lease_s)),
    ]
    return (
        [*found, *examine_outages(imagen.ledger, within_s=lease_s)] if is_ledger_usable else found
    )


def _describe_broker(imagen: Imagen) -> str:
    from imagen.queue.broker.connection import ping

    return ping(imagen.config.queue.broker_url)


def _backends(imagen: Imagen, registry: Registry) -> list[Finding]:
    from imagen.services.report.backend_health import check_backends

    checked = check_backends(registry, registry.names(), patience_s=_PATIENCE_S)
    default = imagen.config.default_backend
    return [
        _of_backend(name, health, is_default=name == default) for name, health in checked.items()
    ]


def _of_backend(name: str, health: Health | None, *, is_default: bool) -> Finding:
    from imagen.services.report.diagnose import Finding

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


def _supabase(imagen: Imagen) -> list[Finding]:
    from imagen.cloud.settings import names_project, read_settings
    from imagen.services.report.diagnose import Finding, describe_rest, describe_storage, examine

    try:
        settings = read_settings(imagen.env)
    except ImagenError as error:
        return [Finding("supabase", "broken", error.message, error.hint)]
    if settings is not None:
        return [
            examine("supabase storage", lambda: describe_storage(settings)),
            examine("supabase rest", lambda: describe_rest(settings)),
        ]
    if not names_project(imagen.env) and imagen.config.output.cloud_sync != "on":
        return [Finding("supabase", "ok", "not configured; images and usage stay here")]
    state = "broken" if imagen.config.output.cloud_sync == "on" else "warning"
    why = f"{imagen.missing_for_supabase} is not set; images and usage stay here"
    return [Finding("supabase", state, why, f"set {imagen.missing_for_supabase}")]


def _line(shell: Shell, finding: Finding) -> str:
    state = shell.screen.paint_answer(f"{finding.state:<8}", _COLOURS[finding.state])
    hint = f" ({printable_line(finding.hint)})" if finding.hint else ""
    return f"{state} {finding.what}: {printable_line(finding.text)}{hint}"
