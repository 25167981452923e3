"""``imagen batch``: a file of prompts; running it again draws only what is missing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from imagen.cli.options.drawing_options import DrawingOptions, drawing_options
from imagen.cli.options.standard import config_option, json_option, timeout_option
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.streams import OutputFailed
from imagen.cli.shell import Failed, Shell
from imagen.errors import BackendUnavailable, CredentialError, ImagenError, OutOfCredit

if TYPE_CHECKING:
    from imagen.backends.registry import Registry
    from imagen.cli.draw.run_jobs import JobRunner
    from imagen.services.report.batch_outcome import BatchOutcome
    from imagen.services.submit.prompt_file import PromptFile
    from imagen.services.submit.submit_batch import BatchIdentity, BatchRun, SubmittedBatch
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process

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
    *,
    source: str,
    name: str,
    drawing: DrawingOptions,
    output_dir: str,
    retry_failed: bool,
    print_paths: bool,
    timeout_s: float | None,
    config: str | None,
) -> None:
    """Draw the prompts in FILE, one a line; blank lines and # comments are skipped.

    Stop it anywhere and run it again: what is drawn stays, and only the rest is drawn. Lines may
    be added, moved and changed in between. A batch is known by its --name, or else by its file
    and output folder.

    \b
    imagen batch prompts.txt --backend mock --size 512x512
    grep fox prompts.txt | imagen batch - --name foxes
    """
    from imagen.cli.options.typed_paths import absolute
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.submit.delivery_folders import require_writable
    from imagen.services.submit.prompt_file import open_prompts
    from imagen.services.submit.submit_batch import BatchRun, identify_batch
    from imagen.wiring.parts import submit_folders

    set_up_logging(shell)
    folder = absolute(output_dir) if output_dir else None
    with (
        open_prompts(source, shell.stdin) as prompts,
        shell.backends(config) as (process, ledger, registry),
    ):
        what = " with the same input" if source == "-" else ""
        shell.interrupt.how_to_go_on = f"run it again{what} to go on: {shell.command}"
        context = drawing.submit_context(process, folder=folder)
        require_writable(context.output_folder)
        run = BatchRun(
            ledger,
            context,
            registry,
            drawing.request_input,
            datetime.now().astimezone(),
            retry_failed=retry_failed,
            require_output=submit_folders(process, ledger).require,
        )
        identity = identify_batch(source, prompts, context.output_folder, name=name)
        _BatchCommand(
            shell, process, ledger, registry, run, identity, prompts, print_paths=print_paths
        ).draw(timeout_s=timeout_s)


@dataclass(frozen=True)
class _BatchCommand:
    """One run of the command."""

    shell: Shell
    process: Process
    ledger: Ledger
    registry: Registry
    run: BatchRun
    identity: BatchIdentity
    prompts: PromptFile
    print_paths: bool

    def draw(self, *, timeout_s: float | None) -> None:
        """Submit what is missing, get it drawn, and answer."""
        from imagen.cli.draw.batch_summary import summary_line
        from imagen.cli.draw.run_jobs import job_runner
        from imagen.cli.money.outgoing import tell_outgoing, tell_unsent
        from imagen.domain.scope import Scope

        began_s = time.monotonic()
        # An error in the options concerns every line: report it once, before any is accepted.
        backend = self.run.backend()
        submitted = self.run.submit(
            self.prompts.lines(), self.identity, on_chunk=self._tell_submitted
        )
        outcome = None
        try:
            if submitted.to_draw:
                self._require_usable(backend, submitted)
                with job_runner(self.shell, self.process, self.ledger, self.registry) as runner:
                    self._run_jobs(runner, submitted, began_s=began_s, timeout_s=timeout_s)
                    # Taken before the wait for Supabase, which is not part of the drawing.
                    outcome = self._outcome(submitted, began_s=began_s)
                    tell_outgoing(self.shell, self.process, self.ledger, submitted.scope)
            else:
                outcome = self._outcome(submitted, began_s=began_s)
                every_run = Scope(batch_id=submitted.batch.id)
                tell_unsent(self.shell, self.process, self.ledger, every_run)
        except (Interrupted, OutputFailed):
            so_far = outcome or self._outcome(submitted, began_s=began_s)
            self.shell.screen.say(summary_line(so_far))
            raise
        self._answer(outcome)

    def _tell_submitted(self, submitted: SubmittedBatch) -> None:
        if submitted.total % _TELL_EVERY_LINES == 0 and self.prompts.count > submitted.total:
            self.shell.screen.say(f"{submitted.total:,} of {self.prompts.count:,} lines accepted")

    def _require_usable(self, backend: str, submitted: SubmittedBatch) -> None:
        """Raise ``Failed`` when the backend cannot draw, before ten thousand rows fail for it."""
        if self.process.has_broker:
            return
        from imagen.services.report.backend_health import require_usable_backend

        try:
            require_usable_backend(self.registry, backend)
        except (BackendUnavailable, CredentialError) as error:
            waiting = f"{error.message}; {submitted.to_draw:,} rows wait for it"
            outcome = self._outcome(submitted, began_s=time.monotonic())
            raise Failed(
                self._with_way_on(type(error)(waiting, error.hint)), outcome.to_json()
            ) from error

    def _with_way_on(self, error: ImagenError) -> ImagenError:
        hints = filter(None, [error.hint, self.shell.interrupt.how_to_go_on])
        return type(error)(error.message, "\n".join(hints))

    def _run_jobs(
        self,
        runner: JobRunner,
        submitted: SubmittedBatch,
        *,
        began_s: float,
        timeout_s: float | None,
    ) -> None:
        from imagen.cli.draw.batch_summary import summary_line
        from imagen.cli.draw.job_messages import JobMessages
        from imagen.cli.draw.run_jobs import path_printer
        from imagen.cli.screen.progress import meter
        from imagen.services.report.job_counts import count_jobs

        screen = self.shell.screen
        wants_paths = self.print_paths and not self.shell.wants_json
        messages = JobMessages(screen, on_path=path_printer(screen) if wants_paths else None)
        shown = meter(
            screen,
            total=submitted.to_draw,
            count=lambda: count_jobs(self.ledger, [submitted.scope]),
            phase=messages.phases.common_phase,
        )
        try:
            with shown:
                runner.run(submitted.scope, messages, timeout_s=timeout_s)
        except (BackendUnavailable, CredentialError, OutOfCredit) as error:
            so_far = self._outcome(submitted, began_s=began_s)
            screen.say(summary_line(so_far))
            raise Failed(self._with_way_on(error), so_far.to_json()) from error

    def _outcome(self, submitted: SubmittedBatch, *, began_s: float) -> BatchOutcome:
        from imagen.services.report.batch_outcome import BatchOutcome

        return BatchOutcome.of(
            self.ledger,
            submitted,
            self.prompts,
            name=self.identity.name,
            output_folder=self.run.context.output_folder,
            seconds=time.monotonic() - began_s,
        )

    def _answer(self, outcome: BatchOutcome) -> None:
        from imagen.cli.draw.batch_summary import batch_error, failure_lines, summary_line
        from imagen.cli.draw.job_messages import tell_warnings

        screen = self.shell.screen
        tell_warnings(screen, outcome.warnings)
        for line in failure_lines(outcome):
            screen.say(line)
        screen.say(summary_line(outcome))
        error = batch_error(outcome, self.shell.interrupt.how_to_go_on)
        if error is not None:
            raise Failed(error, outcome.to_json(), exit_code=outcome.exit_code)
        if self.shell.wants_json:
            screen.answer_json(outcome.to_json() | {"error": None})
