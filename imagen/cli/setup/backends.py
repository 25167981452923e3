"""``imagen backends``: what can draw, whether it can now, and leaving one alone for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.options.typed_values import parse_seconds
from imagen.cli.screen.durations import brief
from imagen.cli.screen.screen import Screen
from imagen.cli.screen.text_tables import table
from imagen.cli.setup import completion
from imagen.cli.shell import Shell
from imagen.domain.printable import printable_line

if TYPE_CHECKING:
    from imagen.services.report.backend_list import BackendView

_COLOURS = {"ok": "green", "not configured": "yellow", "unreachable": "red"}


@click.group(invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def backends(context: click.Context, config: str | None) -> None:
    """List the configured backends, or pause one."""
    if context.invoked_subcommand is None:
        _list(context.obj, config)
    else:
        context.meta["imagen.config"] = config


@backends.command("list", short_help="List them, and whether they can draw now.")
@json_option
@config_option
@click.pass_obj
def list_(shell: Shell, config: str | None) -> None:
    """List the configured backends with their state, and the installed types.

    Asks each of them, free of charge, all at once.
    """
    _list(shell, config)


def _list(shell: Shell, config: str | None) -> None:
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.report.backend_list import view_backends

    set_up_logging(shell)
    with shell.backends(config) as (process, ledger, registry):
        default, lease_s = process.config.default_backend, process.config.workers.lease_s
        views = view_backends(ledger, registry, default=default, lease_s=lease_s)
        types = {kind: str(origin) for kind, origin in registry.types().items()}
    if shell.wants_json:
        facts = [view.to_json() for view in views]
        shell.screen.answer_json({"backends": facts, "types": types, "error": None})
        return
    for line in _lines(shell.screen, views):
        shell.screen.answer(line)
    named = ", ".join(f"{kind} ({origin})" for kind, origin in types.items())
    text = f"* the default; installed types: {named or 'none'}"
    shell.screen.say(shell.screen.paint(text, "dim"))


def _lines(screen: Screen, views: Sequence[BackendView]) -> list[str]:
    rows = [
        (view.name + (" *" if view.is_default else ""), view.type, view.queue, view.price)
        for view in views
    ]
    lines = table(("BACKEND", "TYPE", "QUEUE", "AN IMAGE"), rows)
    width = max(map(len, lines))
    head, *body = lines
    shown = [screen.paint_answer(f"{head:<{width}}  STATE", "dim")]
    for line, view in zip(body, views, strict=True):
        shown.append(f"{line:<{width}}  {_state(screen, view)}")
        notes = [*view.health.warnings, *view.outages]
        shown += [" " * (width + 2) + printable_line(note) for note in notes]
    return shown


def _state(screen: Screen, view: BackendView) -> str:
    state = view.health.state
    painted = screen.paint_answer(state, _COLOURS[state])
    # Its name stands at the beginning of the line already.
    reason = printable_line(view.health.reason).removeprefix(f"backend {view.name!r} ")
    hint = printable_line(view.health.hint)
    if state == "not configured":
        text = f"{painted} ({hint or reason})"
    else:
        text = painted + (f": {reason}" if reason else "") + (f" ({hint})" if hint else "")
    if view.paused:
        text += f"; {screen.paint_answer('paused', 'yellow')}: {printable_line(view.paused)}"
    return text


def _named_config(context: click.Context, config: str | None) -> str | None:
    inherited: str | None = context.meta.get("imagen.config")
    return config or inherited


@backends.command(short_help="Claim none of its jobs for a while.")
@click.argument("name", shell_complete=completion.backend_names)
@click.option("--for", "for_", default="", metavar="TIME", help="So long: 90s, 10m, 2h. [for ever]")
@click.option("--reason", default="paused by hand", help="What others read about it.")
@config_option
@click.pass_context
def pause(context: click.Context, name: str, for_: str, reason: str, config: str | None) -> None:
    """Leave the backend NAME alone: no worker claims its jobs, and those wait.

    Jobs that it is drawing now are finished.
    """
    from imagen.services.control.backend_pauses import pause_by_hand

    shell: Shell = context.obj
    pause_s = parse_seconds(for_) or None if for_ else None
    with shell.backends(_named_config(context, config)) as (_, ledger, registry):
        pause_by_hand(ledger, registry, name, reason=reason, pause_s=pause_s)
    how_long = f"for {brief(pause_s)}" if pause_s else f"until: imagen backends resume {name}"
    shell.screen.say(f"{name} is paused {how_long}")


@backends.command(short_help="Claim its jobs again.")
@click.argument("name", shell_complete=completion.backend_names)
@config_option
@click.pass_context
def resume(context: click.Context, name: str, config: str | None) -> None:
    """Lift the pause of the backend NAME, and of the others of its account.

    Others that were paused by hand stay paused.
    """
    from imagen.services.control.backend_pauses import resume_account

    shell: Shell = context.obj
    with shell.backends(_named_config(context, config)) as (_, ledger, registry):
        resumed = resume_account(ledger, registry, name)
    if not resumed:
        shell.screen.say(f"{name} was not paused")
        return
    verb = "goes on" if len(resumed) == 1 else "go on"
    shell.screen.say(f"{', '.join(resumed)} {verb}")
