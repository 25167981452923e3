"""``imagen batch``: a file of prompts; running it again draws only what is missing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.options import (
    config_option,
    drawing_options,
    json_option,
    parse_options,
    timeout_option,
)
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.streams import OutputFailed
from imagen.cli.shell import Failed, Shell
from imagen.errors import (
    BackendUnavailable,
    CredentialError,
    GaveUpWaiting,
    ImagenError,
    OutOfCredit,
)

if TYPE_CHECKING:
    from imagen.cli.draw.batch_outcome import BatchOutcome
    from imagen.services.submit.prompt_file import PromptFile
    from imagen.services.submit.resolve import RequestInput, SubmitContext
    from imagen.services.submit.submit_batch import Submitted
    from imagen.wiring.bootstrap import Imagen

EXIT_SOME_FAILED = 4
_HEALTH_PATIENCE_S = 6.0
_TELL_EVERY_LINES = 10_000


@click.command(short_help="Draw every line of a file; run again to go on.")
@click.argument("source", metavar="FILE", type=click.Path())
@click.option("--name", default="", metavar="NAME", help="What makes it the same batch. [FILE]")
@drawing_options
@click.option("--output-dir", default="", metavar="DIR", help="The folder for the images.")
@click.option("--retry-failed", is_flag=True, help="Also draw what failed before.")
@click.option("--print-paths", is_flag=True, help="Print the path of each image as it is drawn.")
@timeout_option
@json_option
@config_option
@click.pass_obj
def batch(
    shell: Shell,
    /,
    source: str,
    config: str | None,
    timeout_s: float | None,
    **asked: Any,
) -> None:
    """Draw the prompts in FILE, one a line; blank lines and # comments are skipped.

    Stop it anywhere and run it again: what is drawn stays, and only the rest is drawn. Lines may
    be added, moved and changed in between. A batch is known by its --name, or else by its file
    and output folder.

    \b
    imagen batch prompts.txt --backend mock --size 512x512
    grep fox prompts.txt | imagen batch - --name foxes
    """
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.submit.prompt_file import open_prompts

    set_up_logging(shell)
    with shell.imagen(config) as imagen, open_prompts(source, shell.stdin) as prompts:
        what = " with the same input" if source == "-" else ""
        shell.interrupt.how_to_go_on = f"run it again{what} to go on: {shell.command}"
        run = _Run(
            shell, imagen, source, prompts, asked, _common(asked), _submit_context(imagen, asked)
        )
        run.draw(timeout_s=timeout_s)


@dataclass
class _Run:
    """One run of the command."""

    shell: Shell
    imagen: Imagen
    source: str
    prompts: PromptFile
    asked: dict[str, Any]
    common: RequestInput
    context: SubmitContext

    @property
    def name(self) -> str:
        if self.asked["name"]:
            return str(self.asked["name"])
        return "stdin" if self.source == "-" else Path(self.source).stem

    @property
    def key(self) -> str:
        """What makes two runs the same batch."""
        if self.asked["name"]:
            return f"name:{self.asked['name']}"
        if self.source == "-":
            return f"sha256:{self.prompts.sha256}:{self.context.output_folder}"
        return f"file:{Path(self.source).resolve()}:{self.context.output_folder}"

    def draw(self, *, timeout_s: float | None) -> None:
        from imagen.cli.money.outgoing import tell_outgoing, tell_unsent
        from imagen.domain.scope import Scope

        began_s = time.monotonic()
        submitted = self._submit()
        try:
            if submitted.to_draw:
                self._require_usable_backend(submitted)
                self._wait(submitted, timeout_s=timeout_s)
        except (Interrupted, OutputFailed):
            so_far = self._outcome(submitted, began_s=began_s)
            self.shell.screen.say(so_far.summary())
            raise
        except (BackendUnavailable, CredentialError, OutOfCredit) as error:
            so_far = self._outcome(submitted, began_s=began_s)
            self.shell.screen.say(so_far.summary())
            raise Failed(self._with_way_on(error), so_far.facts()) from error
        # Taken here: waiting for Supabase is no part of the drawing.
        outcome = self._outcome(submitted, began_s=began_s)
        try:
            if submitted.to_draw:
                tell_outgoing(self.shell, self.imagen, submitted.scope)
            else:
                tell_unsent(self.shell, self.imagen, Scope(batch_id=submitted.batch.id))
        except Interrupted:
            self.shell.screen.say(outcome.summary())
            raise
        self._answer(outcome)

    def _with_way_on(self, error: ImagenError) -> ImagenError:
        hints = filter(None, [error.hint, self.shell.interrupt.how_to_go_on])
        return type(error)(error.message, "\n".join(hints))

    def _submit(self) -> Submitted:
        from imagen.services.submit.submit_batch import BatchRun

        # What is wrong with the options is wrong with every line: say it once, before any.
        self._backend()
        run = BatchRun(
            self.imagen.ledger,
            self.context,
            self.imagen.registry,
            self.common,
            datetime.now().astimezone(),
            retry_failed=self.asked["retry_failed"],
            require_output=self.imagen.delivery_folders().require,
        )
        return run.submit(
            self.prompts.lines(), key=self.key, name=self.name, on_chunk=self._tell_submitted
        )

    def _backend(self) -> str:
        from imagen.services.submit.resolve import resolve

        probe = replace(self.common, prompt="a probe")
        return resolve(probe, self.context, self.imagen.registry).backend

    def _tell_submitted(self, submitted: Submitted) -> None:
        if submitted.total % _TELL_EVERY_LINES == 0 and self.prompts.count > submitted.total:
            self.shell.screen.say(f"{submitted.total:,} of {self.prompts.count:,} lines accepted")

    def _require_usable_backend(self, submitted: Submitted) -> None:
        """Ten thousand rows must not all fail because of a server that is not running."""
        if self.imagen.has_broker:
            return
        from imagen.services.submit.alternatives import check_all

        name = self._backend()
        health = check_all(self.imagen.registry, [name], patience_s=_HEALTH_PATIENCE_S)[name]
        if health is None or health.is_ok:
            return
        why = (health.reason or health.hint).removeprefix(f"backend {name!r} ")
        cls = CredentialError if health.state == "not configured" else BackendUnavailable
        error = cls(
            f"backend {name!r} is {health.state}: {why}; {submitted.to_draw:,} rows wait for it",
            "\n".join(filter(None, [health.hint, self.shell.interrupt.how_to_go_on])),
        )
        outcome = self._outcome(submitted, began_s=time.monotonic())
        raise Failed(error, outcome.facts())

    def _wait(self, submitted: Submitted, *, timeout_s: float | None) -> None:
        """Draw what is missing."""
        from imagen.cli.draw.running import Watch, count_here, path_printer, run_jobs
        from imagen.cli.screen.progress import Meter

        wants_paths = self.asked["print_paths"] and not self.shell.wants_json
        watch = Watch(self.shell, on_path=path_printer(self.shell) if wants_paths else None)
        with Meter(
            self.shell.screen,
            total=submitted.to_draw,
            count=lambda: count_here(self.imagen, submitted.scope),
            phase=watch.phases.common,
        ):
            run_jobs(self.shell, self.imagen, submitted.scope, watch=watch, timeout_s=timeout_s)

    def _outcome(self, submitted: Submitted, *, began_s: float) -> BatchOutcome:
        from imagen.cli.draw.batch_outcome import BatchOutcome

        return BatchOutcome.of(
            self.imagen.ledger,
            submitted,
            self.prompts,
            name=self.name,
            output_folder=self.context.output_folder,
            seconds=time.monotonic() - began_s,
        )

    def _answer(self, outcome: BatchOutcome) -> None:
        from imagen.cli.draw.running import tell_warnings

        screen = self.shell.screen
        tell_warnings(self.shell, outcome.warnings)
        for line in outcome.failure_lines():
            screen.say(line)
        screen.say(outcome.summary())
        if outcome.left:
            error: ImagenError = GaveUpWaiting(
                f"gave up waiting: {outcome.left:,} of {outcome.total:,} are not drawn yet",
                self.shell.interrupt.how_to_go_on,
            )
            raise Failed(error, outcome.facts())
        if outcome.failed or outcome.failed_before:
            raise Failed(outcome.error(), outcome.facts(), exit_code=EXIT_SOME_FAILED)
        if self.shell.wants_json:
            screen.answer_json(outcome.facts() | {"error": None})


def _common(asked: dict[str, Any]) -> RequestInput:
    """Every row's request but for its prompt."""
    from imagen.services.submit.resolve import RequestInput

    return RequestInput(
        prompt="",
        backend=asked["backend"],
        size=asked["size"],
        seed=asked["seed"],
        steps=asked["steps"],
        style=asked["style"],
        negative=asked["negative"],
        options=parse_options(asked["options"]),
        sidecar=False if asked["no_sidecar"] else None,
    )


def _submit_context(imagen: Imagen, asked: dict[str, Any]) -> SubmitContext:
    from imagen.cli.options.paths import absolute, require_writable
    from imagen.services.sync.copy_requirements import require_uploads

    context = imagen.submit_context()
    if asked["output_dir"]:
        context = replace(context, output_folder=absolute(asked["output_dir"]))
    if asked["no_cloud"]:
        context = replace(context, sync="off")
    require_uploads(imagen.config, imagen.env, sync=context.sync)
    require_writable(context.output_folder)
    return context
