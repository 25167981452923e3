"""``imagen backends``: what can draw, whether it can now, and leaving one alone for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.options import config_option, json_option, parse_seconds
from imagen.cli.screen.durations import brief
from imagen.cli.screen.screen import Screen, table
from imagen.cli.setup import completion
from imagen.cli.shell import Shell
from imagen.domain.printable import printable_line

if TYPE_CHECKING:
    from imagen.backends.installed import AdapterOrigin
    from imagen.backends.registry import Registry
    from imagen.domain.drawn import Health

#: A check promises to take less than 5 seconds.
_PATIENCE_S = 6.0
_COLOURS = {"ok": "green", "not configured": "yellow", "unreachable": "red", "paused": "yellow"}


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
    from imagen.ledger.jobs.pauses import paused_backends
    from imagen.services.report.live_workers import describe_outages
    from imagen.services.submit.alternatives import check_all

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        registry = imagen.registry
        checked = check_all(registry, registry.names(), patience_s=_PATIENCE_S)
        paused = paused_backends(imagen.ledger)
        outages = describe_outages(imagen.ledger, within_s=imagen.config.workers.lease_s)
        default = imagen.config.default_backend
        types = registry.types()
        entries = [
            _facts(registry, name, health, is_default=name == default)
            | {"paused": paused.get(name), "outages": outages.get(name, [])}
            for name, health in checked.items()
        ]
    if shell.wants_json:
        kinds = {kind: str(origin) for kind, origin in types.items()}
        shell.screen.answer_json({"backends": entries, "types": kinds, "error": None})
        return
    for line in _lines(shell.screen, entries):
        shell.screen.answer(line)
    _tell_types(shell.screen, types)


def _facts(
    registry: Registry, name: str, health: Health | None, *, is_default: bool
) -> dict[str, Any]:
    from imagen.errors import ImagenError

    try:
        queue = registry.queue_of(name)
    except ImagenError:
        queue = registry.spec(name).queue or ""
    return {
        "name": name,
        "type": registry.spec(name).type,
        "queue": queue,
        "default": is_default,
        "state": health.state if health else "unreachable",
        "reason": health.reason if health else "no answer",
        "hint": health.hint if health else "",
        "warnings": list(health.warnings) if health else [],
        "price": _price(registry, name),
    }


def _price(registry: Registry, name: str) -> str:
    """What one image of the default size would cost there, "" where that cannot be said."""
    from imagen.domain.request import ImageRequest
    from imagen.domain.size import DEFAULT_SIZE
    from imagen.errors import ImagenError

    usual = ImageRequest("an image", "an image", DEFAULT_SIZE.width, DEFAULT_SIZE.height, seed=1)
    try:
        backend = registry.get(name)
        cost = backend.estimate(backend.fit(usual).request)
    except ImagenError:
        return ""
    return "free" if cost.usd == 0 else str(cost)


def _lines(screen: Screen, entries: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            each["name"] + (" *" if each["default"] else ""),
            each["type"],
            each["queue"],
            each["price"],
        )
        for each in entries
    ]
    lines = table(("BACKEND", "TYPE", "QUEUE", "AN IMAGE"), rows)
    width = max(map(len, lines))
    head, *body = lines
    shown = [screen.paint_answer(f"{head:<{width}}  STATE", "dim")]
    for line, each in zip(body, entries, strict=True):
        shown.append(f"{line:<{width}}  {_state(screen, each)}")
        notes = [*each["warnings"], *each["outages"]]
        shown += [" " * (width + 2) + printable_line(note) for note in notes]
    return shown


def _state(screen: Screen, each: Mapping[str, Any]) -> str:
    state = each["state"]
    painted = screen.paint_answer(state, _COLOURS[state])
    # Its name stands at the beginning of the line already.
    reason = printable_line(each["reason"]).removeprefix(f"backend {each['name']!r} ")
    hint = printable_line(each["hint"])
    if state == "not configured":
        text = f"{painted} ({hint or reason})"
    else:
        text = painted + (f": {reason}" if reason else "") + (f" ({hint})" if hint else "")
    if each["paused"]:
        text += f"; {screen.paint_answer('paused', 'yellow')}: {printable_line(each['paused'])}"
    return text


def _tell_types(screen: Screen, types: Mapping[str, AdapterOrigin]) -> None:
    named = ", ".join(f"{kind} ({origin})" for kind, origin in types.items())
    screen.say(screen.paint(f"* the default; installed types: {named or 'none'}", "dim"))


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
    from imagen.ledger.jobs.pauses import pause_backend

    shell: Shell = context.obj
    pause_s = parse_seconds(for_) or None if for_ else None
    with shell.imagen(_named_config(context, config)) as imagen:
        imagen.registry.spec(name)
        pause_backend(imagen.ledger, name, reason=reason, pause_s=pause_s)
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
    from imagen.errors import ImagenError
    from imagen.ledger.jobs.pauses import resume_backends

    shell: Shell = context.obj
    with shell.imagen(_named_config(context, config)) as imagen:
        try:
            account = imagen.registry.sharing_account(name)
        except ImagenError:
            # A pause may outlive its backend's place in the configuration.
            account = []
        resumed = resume_backends(imagen.ledger, name, account=account)
        if not resumed:
            imagen.registry.spec(name)
    if not resumed:
        shell.screen.say(f"{name} was not paused")
        return
    verb = "goes on" if len(resumed) == 1 else "go on"
    shell.screen.say(f"{', '.join(resumed)} {verb}")
