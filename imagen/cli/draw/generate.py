"""``imagen generate``: one prompt, one image, its path on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagen.cli.options.drawing_options import DrawingOptions, drawing_options
from imagen.cli.options.standard import config_option, json_option, timeout_option
from imagen.cli.shell import Failed, Shell
from imagen.errors import (
    BackendUnavailable,
    BrokerUnavailable,
    CredentialError,
    GaveUpWaiting,
    ImagenError,
    RequestError,
)

if TYPE_CHECKING:
    from uuid import UUID

    from imagen.backends.registry import Registry
    from imagen.cli.draw.run_jobs import JobRunner
    from imagen.domain.job import Job, JobDraft
    from imagen.services.report.job_view import JobView
    from imagen.services.submit.submit_request import AcceptedJob
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process

#: An interactive command makes one retry, and then says what is wrong.
_MAX_ATTEMPTS = 2
_MOST_STDIN_BYTES = 1 << 20


@click.command(short_help="Draw one image and print its path.")
@click.argument("words", metavar="PROMPT", nargs=-1)
@drawing_options
@click.option("--output", "-o", default="", metavar="PATH", help="The file to write, or replace.")
@click.option("--preview/--no-preview", default=None, help="Show the image in a tmux window.")
@click.option("--wait", is_flag=True, help="Wait for the image; without a broker always so.")
@timeout_option
@json_option
@config_option
@click.pass_obj
def generate(
    shell: Shell,
    *,
    words: tuple[str, ...],
    drawing: DrawingOptions,
    output: str,
    preview: bool | None,
    wait: bool,
    timeout_s: float | None,
    config: str | None,
) -> None:
    """Draw PROMPT, one image, and print the absolute path of its file.

    \b
    imagen generate "a lighthouse at dawn" --size 1536x768
    imagen generate - < prompt.txt        # the prompt from standard input
    imagen generate "a fox" --json        # everything about it
    """
    from imagen.cli.draw.run_jobs import job_runner
    from imagen.cli.options.typed_paths import explicit_output
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.submit.submit_request import prepare_job
    from imagen.wiring.parts import submit_folders

    set_up_logging(shell)
    prompt = _prompt(shell, words)
    request_input = replace(drawing.request_input, prompt=prompt, output=explicit_output(output))
    with shell.backends(config) as (process, ledger, registry):
        draft = prepare_job(
            request_input,
            drawing.submit_context(process),
            registry,
            submit_folders(process, ledger),
            now=datetime.now().astimezone(),
        )
        accepted = _submit(shell, process, ledger, draft)
        if process.has_broker and not wait:
            _answer_accepted(shell, accepted)
            return
        with job_runner(shell, process, ledger, registry) as runner:
            view = _draw(runner, draft, timeout_s=timeout_s)
            shell.interrupt.how_to_go_on = ""
            try:
                _answer_drawn(shell, view)
            finally:
                # The image is there, whether its path could be written or not.
                _preview(shell, process, view.job, flag=preview)
                _tell_outgoing(runner, draft.id)


def _prompt(shell: Shell, words: Sequence[str]) -> str:
    if not words:
        raise RequestError("no prompt", 'for example: imagen generate "a red fox"')
    if len(words) > 1:
        raise RequestError(
            f"the prompt came as {len(words)} words",
            'put it in quotes: imagen generate "a red fox"',
        )
    if words[0] != "-":
        return words[0]
    raw = shell.read_stdin(_MOST_STDIN_BYTES)
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise RequestError(
            f"standard input is not UTF-8 (byte {error.start + 1})", "convert it: iconv -t utf-8"
        ) from None


def _submit(shell: Shell, process: Process, ledger: Ledger, draft: JobDraft) -> AcceptedJob:
    from imagen.cli.draw.run_jobs import go_on_hint
    from imagen.services.submit.submit_request import accept_job

    for warning in draft.requested.warnings if draft.requested else ():
        shell.screen.warn(warning)
    accepted = accept_job(ledger, draft)
    hint = go_on_hint(process, [draft.id])
    shell.interrupt.how_to_go_on = hint
    shell.interrupt.facts = accepted.to_json()
    try:
        if process.has_broker:
            _wake_workers(process, ledger, draft)
    except BrokerUnavailable as error:
        late = f"{error.message}; job {draft.id} is accepted and is drawn when Redis is back"
        raise Failed(BrokerUnavailable(late, hint), accepted.to_json()) from error
    return accepted


def _wake_workers(process: Process, ledger: Ledger, draft: JobDraft) -> None:
    from imagen.services.submit.wakeups import wake_workers
    from imagen.wiring.queue_parts import make_queue_publisher

    wake_workers(make_queue_publisher(process, ledger), [draft])


def _answer_accepted(shell: Shell, accepted: AcceptedJob) -> None:
    if shell.wants_json:
        shell.screen.answer_json(accepted.to_json())
    else:
        shell.screen.answer_result(str(accepted.draft.id), what="the job is accepted")


def _draw(runner: JobRunner, draft: JobDraft, *, timeout_s: float | None) -> JobView:
    """The job, once it is drawn and delivered.

    Raises:
        Failed: it has no image; says why, with what is known of the job.
    """
    from imagen.cli.draw.job_messages import JobMessages
    from imagen.cli.screen.progress import one_job
    from imagen.domain.scope import Scope
    from imagen.services.report.job_view import view_jobs

    screen = runner.shell.screen
    _tell_orphaned_jobs(runner, draft)
    messages = JobMessages(screen)
    with one_job(screen, f"drawing with {draft.backend}") as messages.steps:
        scope = Scope(job_ids=(draft.id,))
        runner.run(scope, messages, timeout_s=timeout_s, max_attempts=_MAX_ATTEMPTS)
    [view] = view_jobs(runner.ledger, [draft.id])
    if view.is_done:
        told = draft.requested.warnings if draft.requested else ()
        for warning in view.record.warnings:
            if warning not in told:
                screen.warn(warning)
        return view
    if view.job.state.is_terminal:
        # It may have been drawn and paid for without its file being written.
        _tell_outgoing(runner, draft.id)
    error = messages.errors.get(draft.id) or view.error
    if error is None:
        error = _gave_up(runner, view.job, phase=messages.phases.last)
    elif not runner.process.has_broker:
        error = _with_alternatives(runner.registry, view.job, error)
    raise Failed(error, replace(view, error=error).to_json())


def _gave_up(runner: JobRunner, job: Job, *, phase: str) -> GaveUpWaiting:
    state = job.state.value + (f": {phase}" if phase else "")
    return GaveUpWaiting(
        f"gave up waiting for job {job.id}, which is {state}",
        runner.go_on_hint([job.id]),
    )


def _tell_orphaned_jobs(runner: JobRunner, draft: JobDraft) -> None:
    """Without workers, jobs that an earlier command left are drawn only on request."""
    if runner.process.has_broker:
        return
    from imagen.services.report.orphaned_jobs import MOST_COUNTED, count_orphaned_jobs

    number = count_orphaned_jobs(runner.ledger, host=runner.process.host, without=draft.id)
    if not number:
        return
    more = " or more" if number == MOST_COUNTED else ""
    jobs = f"{number:,}{more} jobs of earlier commands wait"
    if number == 1:
        jobs = "1 job of an earlier command waits"
    runner.shell.screen.say(f"{jobs}; draw with: imagen jobs resume --all, or imagen worker")


def _answer_drawn(shell: Shell, view: JobView) -> None:
    if shell.wants_json:
        shell.screen.answer_json(view.to_json())
        return
    screen = shell.screen
    if screen.is_terminal:
        screen.say(screen.paint(_drawn_line(view), "dim"))
    screen.answer_result(str(view.job.output_path), what="the image is there")


def _drawn_line(view: JobView) -> str:
    """``drawn by mock: 512x512, seed 7, 0.4 s``, and the price where there is one."""
    from imagen.cli.screen.durations import brief

    record, attempt = view.record, view.drawing_attempt
    parts = [f"{record.width}x{record.height}"]
    if record.seed is not None:
        parts.append(f"seed {record.seed}")
    if attempt is not None and attempt.latency_ms is not None:
        parts.append(brief(attempt.latency_ms / 1000))
    if attempt is not None and attempt.cost_usd:
        parts.append(f"${float(attempt.cost_usd):.4g}")
    return f"drawn by {view.job.backend}: {', '.join(parts)}"


def _preview(shell: Shell, process: Process, job: Job, *, flag: bool | None) -> None:
    """Show the image in a tmux window where that is wanted; a failure is only reported."""
    output = process.config.output
    setting = output.preview if flag is None else ("on" if flag else "off")
    if setting == "off":
        return
    from imagen.cli.screen.error_lines import tell
    from imagen.services.deliver.tmux_preview import is_wanted, open_preview

    command, env, is_terminal = output.preview_command, shell.env, shell.screen.out.isatty()
    if not is_wanted(setting, command=command, env=env, is_terminal=is_terminal):
        return
    title = job.request.prompt
    try:
        open_preview(Path(str(job.output_path)), title=title, command=command, env=env)
    except ImagenError as error:
        tell(shell.screen, f"preview: {error.message}", error.hint)


def _tell_outgoing(runner: JobRunner, job_id: UUID) -> None:
    from imagen.cli.money.outgoing import tell_outgoing
    from imagen.domain.scope import Scope

    tell_outgoing(runner.shell, runner.process, runner.ledger, Scope(job_ids=(job_id,)))


def _with_alternatives(registry: Registry, job: Job, error: ImagenError) -> ImagenError:
    """The same error; where its backend cannot be used now, its hint names what can."""
    if not isinstance(error, BackendUnavailable | CredentialError):
        return error
    from imagen.services.report.backend_health import find_alternatives

    others = [
        f"{each.remedy}, for --backend {each.backend}".removeprefix(", for ")
        for each in find_alternatives(registry, job.backend)
    ]
    hints = [error.hint, f"when it can draw: imagen jobs retry {job.id}"]
    if others:
        hints.append(f"or draw with another backend: {'; '.join(others)}")
    return type(error)(error.message, "\n".join(filter(None, hints)))
