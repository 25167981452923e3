"""The options of most commands: ``--json``, ``--config`` and ``--timeout``."""

from __future__ import annotations

import click

from imagen.cli.options.typed_values import parse_timeout
from imagen.cli.shell import Shell


def _note_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if isinstance(context.obj, Shell):
        context.obj.wants_json = value


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_note_json,
    help="Answer with one JSON object, also on failure.",
)

config_option = click.option(
    "--config", metavar="PATH", help="The configuration to read. [default: ~/.config/imagen.yaml]"
)


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    callback=lambda _context, _parameter, value: parse_timeout(value),
    metavar="S",
    default="",
    help="Give up waiting after so many seconds.",
)
