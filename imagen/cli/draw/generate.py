"""``imagen generate``: one prompt, one image, its path on stdout."""

from __future__ import annotations

from dataclasses import replace
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
    from imagen.domain.job import Job, JobDraft
    from imagen.services.submit.resolve import RequestInput, Resolved
    from imagen.wiring.bootstrap import Imagen

#: Somebody waits for one image: one retry, then say what is wrong.
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
    /,
    words: tuple[str, ...],
    config: str | None,
    timeout_s: float | None,
    **asked: Any,
) -> None:
    """Draw PROMPT, one image, and print the absolute path of its file.

    \b
    imagen generate "a lighthouse at dawn" --size 1536x768
    imagen generate - < prompt.txt        # the prompt from standard input
    imagen generate "a fox" --json        # everything about it
    """
    from imagen.cli.screen.log import set_up_logging

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        ask = _ask(shell, words, asked)
        resolved, draft = _settle(imagen, ask, no_cloud=asked["no_cloud"])
        _submit(shell, imagen, draft, resolved)
        if imagen.has_broker and not asked["wait"]:
            _answer_accepted(shell, draft, resolved)
            return
        job, facts = _draw(shell, imagen, draft, resolved, timeout_s=timeout_s)
        shell.interrupt.how_to_go_on = ""
        try:
            _answer_drawn(shell, job, facts)
        finally:
            # The image is there, whether its path could be written or not.
            _preview(shell, imagen, job, flag=asked["preview"])
            _tell_outgoing(shell, imagen, job)


def _ask(shell: Shell, words: tuple[str, ...], asked: dict[str, Any]) -> RequestInput:
    from imagen.cli.options.paths import explicit_output
    from imagen.services.submit.resolve import RequestInput

    return RequestInput(
        prompt=_prompt(shell, words),
        backend=asked["backend"],
        size=asked["size"],
        seed=asked["seed"],
        steps=asked["steps"],
        style=asked["style"],
        negative=asked["negative"],
        options=parse_options(asked["options"]),
        output=explicit_output(asked["output"]),
        sidecar=False if asked["no_sidecar"] else None,
    )


def _prompt(shell: Shell, words: tuple[str, ...]) -> str:
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


def _settle(imagen: Imagen, ask: RequestInput, *, no_cloud: bool) -> tuple[Resolved, JobDraft]:
    from imagen.cli.options.paths import require_writable
    from imagen.services.submit.resolve import make_draft, resolve
    from imagen.services.sync.copy_requirements import require_uploads

    context = imagen.submit_context()
    if no_cloud:
        context = replace(context, sync="off")
    require_uploads(imagen.config, imagen.env, sync=context.sync)
    resolved = resolve(ask, context, imagen.registry)
    draft = make_draft(resolved, ask, context, now=datetime.now().astimezone())
    require_writable(Path(draft.output.folder))
    imagen.delivery_folders().require(draft.output)
    return resolved, draft


def _submit(shell: Shell, imagen: Imagen, draft: JobDraft, resolved: Resolved) -> None:
    from imagen.cli.draw.running import go_on_hint, wake_workers
    from imagen.ledger.jobs.submit import submit_job

    for warning in resolved.warnings:
        shell.screen.warn(warning)
    submit_job(imagen.ledger, draft)
    shell.interrupt.how_to_go_on = go_on_hint(imagen, [draft.id])
    shell.interrupt.facts = _accepted(draft, resolved)
    try:
        wake_workers(imagen, [draft])
    except BrokerUnavailable as error:
        late = BrokerUnavailable(
            f"{error.message}; job {draft.id} is accepted and is drawn when Redis is back",
            go_on_hint(imagen, [draft.id]),
        )
        raise Failed(late, _accepted(draft, resolved)) from error


def _accepted(draft: JobDraft, resolved: Resolved) -> dict[str, Any]:
    return {
        "id": str(draft.id),
        "state": "queued",
        "seed": draft.request.seed,
        "steps": draft.request.steps,
        "negative": draft.request.negative,
        "backend": draft.backend,
        "width": draft.request.width,
        "height": draft.request.height,
        "requested_size": str(resolved.requested.size),
        "format": draft.request.format,
        "warnings": list(resolved.warnings),
        "error": None,
    }


def _answer_accepted(shell: Shell, draft: JobDraft, resolved: Resolved) -> None:
    if shell.wants_json:
        shell.screen.answer_json(_accepted(draft, resolved))
    else:
        shell.screen.answer_result(str(draft.id), what="the job is accepted")


def _draw(
    shell: Shell, imagen: Imagen, draft: JobDraft, resolved: Resolved, *, timeout_s: float | None
) -> tuple[Job, dict[str, Any]]:
    """The job, once it is drawn and delivered, and the facts about it."""
    from imagen.cli.draw.running import Watch, go_on_hint, run_jobs
    from imagen.cli.screen.progress import one_job
    from imagen.domain.scope import Scope
    from imagen.services.report.job_view import view_jobs

    _mention_leftovers(shell, imagen, draft)
    watch = Watch(shell)
    with one_job(shell.screen, f"drawing with {draft.backend}") as watch.steps:
        run_jobs(
            shell,
            imagen,
            Scope(job_ids=(draft.id,)),
            watch=watch,
            timeout_s=timeout_s,
            max_attempts=_MAX_ATTEMPTS,
        )
    [view] = view_jobs(imagen.ledger, [draft.id])
    job = view.job
    error = watch.errors.get(job.id) or view.error
    if view.is_done:
        facts = view.to_json()
        for warning in facts["warnings"]:
            if warning not in resolved.warnings:
                shell.screen.warn(warning)
        return job, facts
    if job.state.is_terminal:
        # It may have been drawn, and paid for, and only its file could not be written.
        _tell_outgoing(shell, imagen, job)
    if error is None:
        phase = watch.phases.last
        error = GaveUpWaiting(
            f"gave up waiting for job {job.id}, which is {job.state.value}"
            + (f": {phase}" if phase else ""),
            go_on_hint(imagen, [job.id]),
        )
    else:
        error = _with_alternatives(imagen, job, error)
    raise Failed(error, replace(view, error=error).to_json())


def _mention_leftovers(shell: Shell, imagen: Imagen, draft: JobDraft) -> None:
    """Nobody but another command would ever draw what an earlier one left behind."""
    if imagen.has_broker:
        return
    from imagen.ledger.queries.unfinished_jobs import count_leftovers

    number = count_leftovers(imagen.ledger, host=imagen.host, but=[draft.id])
    if number:
        jobs = (
            "1 job of an earlier command waits"
            if number == 1
            else (f"{number:,} jobs of earlier commands wait")
        )
        shell.screen.say(f"{jobs}; draw with: imagen jobs resume --all, or imagen worker")


def _answer_drawn(shell: Shell, job: Job, facts: dict[str, Any]) -> None:
    if shell.wants_json:
        shell.screen.answer_json(facts)
        return
    screen = shell.screen
    if screen.is_terminal:
        from imagen.cli.screen.durations import brief

        parts = [f"{facts['width']}x{facts['height']}"]
        if facts["seed"] is not None:
            parts.append(f"seed {facts['seed']}")
        if facts["latency_ms"] is not None:
            parts.append(brief(facts["latency_ms"] / 1000))
        if facts["cost_usd"]:
            parts.append(f"${facts['cost_usd']:.4g}")
        screen.say(screen.paint(f"drawn by {job.backend}: {', '.join(parts)}", "dim"))
    screen.answer_result(str(facts["path"]), what="the image is there")


def _preview(shell: Shell, imagen: Imagen, job: Job, *, flag: bool | None) -> None:
    """The image in a tmux window, where that is wanted; a failure is told and changes nothing."""
    output = imagen.config.output
    setting = output.preview if flag is None else ("on" if flag else "off")
    if setting == "off":
        return
    from imagen.cli.screen.error_lines import tell
    from imagen.services.deliver.preview import is_wanted, open_preview

    command, env, is_terminal = output.preview_command, shell.env, shell.screen.out.isatty()
    if not is_wanted(setting, command=command, env=env, is_terminal=is_terminal):
        return
    title = job.request.prompt
    try:
        open_preview(Path(str(job.output_path)), title=title, command=command, env=env)
    except ImagenError as error:
        tell(shell.screen, f"preview: {error.message}", error.hint)


def _tell_outgoing(shell: Shell, imagen: Imagen, job: Job) -> None:
    from imagen.cli.money.outgoing import tell_outgoing
    from imagen.domain.scope import Scope

    tell_outgoing(shell, imagen, Scope(job_ids=(job.id,)))


def _with_alternatives(imagen: Imagen, job: Job, error: ImagenError) -> ImagenError:
    """The same error; where its backend cannot be used now, its hint names what can."""
    if not isinstance(error, BackendUnavailable | CredentialError) or imagen.has_broker:
        return error
    from imagen.services.submit.alternatives import alternatives

    others = alternatives(imagen.registry, job.backend)
    hints = [error.hint, f"when it can draw: imagen jobs retry {job.id}"]
    if others:
        hints.append(f"or draw with another backend: {'; '.join(others)}")
    return type(error)(error.message, "\n".join(filter(None, hints)))
