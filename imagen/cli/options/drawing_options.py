"""What to draw and where to: the options that ``generate`` and ``batch`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.typed_values import parse_options
from imagen.cli.setup import completion

if TYPE_CHECKING:
    from imagen.services.submit.resolve import RequestInput, SubmitContext
    from imagen.wiring.process import Process

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class DrawingOptions:
    """The values of these options. ``request_input`` has no prompt."""

    request_input: RequestInput
    no_cloud: bool

    def submit_context(self, process: Process, *, folder: Path | None = None) -> SubmitContext:
        """What the configuration adds; images go to ``folder`` where it is given.

        Raises:
            ConfigError, CredentialError: copies have to be uploaded from here, and cannot be.
        """
        from imagen.services.sync.copy_requirements import require_uploads
        from imagen.wiring.parts import submit_context

        context = submit_context(process)
        if folder is not None:
            context = replace(context, output_folder=folder)
        if self.no_cloud:
            context = replace(context, sync="off")
        require_uploads(process.config, process.env, sync=context.sync)
        return context


def drawing_options(command: Command) -> Command:
    """Give a command these options, as one ``DrawingOptions`` in its parameter ``drawing``."""

    @wraps(command)
    def call(
        *args: Any, options: tuple[str, ...], no_sidecar: bool, no_cloud: bool, **values: Any
    ) -> Any:
        from imagen.services.submit.resolve import RequestInput

        typed = {name: values.pop(name) for name in _OF_THE_REQUEST}
        sidecar = False if no_sidecar else None
        request_input = RequestInput("", **typed, options=parse_options(options), sidecar=sidecar)
        return command(*args, drawing=DrawingOptions(request_input, no_cloud), **values)

    wrapped: Command = call
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OF_THE_REQUEST = ("backend", "size", "seed", "steps", "style", "negative")
_OPTIONS = (
    click.option(
        "--backend",
        "-b",
        default="",
        metavar="NAME",
        shell_complete=completion.backend_names,
        help="What draws; see: imagen backends.",
    ),
    click.option(
        "--size", "-s", default="", metavar="WxH", help="Pixels, each side 64..4096. [1024x1024]"
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="The same seed draws the same. [random]",
    ),
    click.option(
        "--steps", type=int, default=0, metavar="N", help="Sampling steps. [the backend's]"
    ),
    click.option(
        "--style",
        default="",
        metavar="NAME",
        shell_complete=completion.style_names,
        help="Wording and defaults from the configuration.",
    ),
    click.option("--negative", default="", metavar="TEXT", help="What not to draw."),
    click.option(
        "--opt",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option for the backend; may be repeated.",
    ),
    click.option("--no-sidecar", is_flag=True, help="Write no JSON file beside the image."),
    click.option("--no-cloud", is_flag=True, help="Upload no copy, whatever is configured."),
)
