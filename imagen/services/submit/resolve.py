"""Resolves a request before it is accepted: seed, style, size, backend, format and output path.

A worker on another host, with another configuration, draws and delivers the job later, so the job
carries every value that this needs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from uuid_utils.compat import uuid7

from imagen.domain.drawing_record import Requested
from imagen.domain.job import JobDraft, Lane, Output
from imagen.domain.prompt import clean_prompt, require_prompt
from imagen.domain.protocols import BackendLookup
from imagen.domain.request import (
    FORMAT_BY_SUFFIX,
    MAX_DRAWN_SEED,
    MAX_SEED,
    ImageRequest,
)
from imagen.domain.secret_names import is_secret_name
from imagen.domain.size import DEFAULT_SIZE, Size, parse_size
from imagen.domain.style import Style
from imagen.errors import RequestError, SecretOption
from imagen.output.naming import render_name, slugify, split_suffix
from imagen.output.paths import check_length


@dataclass(frozen=True, slots=True)
class RequestInput:
    """A request as it was typed; "", 0 and None mean "the default"."""

    prompt: str
    backend: str = ""
    size: str = ""
    seed: int = 0
    steps: int = 0
    style: str = ""
    negative: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    #: ``--output``: the absolute path of a file; replaced when it exists.
    output: str = ""
    sidecar: bool | None = None


@dataclass(frozen=True, slots=True)
class SubmitContext:
    """What the submitting process and its configuration add to every request."""

    default_backend: str
    #: Raises RequestError for a name it does not know.
    style_of: Callable[[str], Style]
    #: Absolute.
    output_folder: Path
    naming: str
    format: str
    sidecar: bool
    metadata: str
    caller: str
    delivery_host: str
    owner_user_id: str = ""
    sync: str = ""


@dataclass(frozen=True, slots=True)
class BatchRow:
    """The row of a batch that a job draws."""

    batch_id: UUID
    name: str
    run: int
    position: int
    dedupe_key: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is to be drawn, and by which backend."""

    request: ImageRequest
    backend: str
    queue: str
    affinity: str | None
    #: The request before the backend fitted it, with warnings for the user.
    requested: Requested


class Backends(BackendLookup, Protocol):
    """A lookup that also knows the queues."""

    def queue_of(self, name: str) -> str: ...


def resolve(request_input: RequestInput, context: SubmitContext, backends: Backends) -> Resolved:
    """The request with its defaults: input over style, style over configuration. No I/O.

    Raises:
        RequestError: a value is not possible; the message says what to type instead.
        ConfigError: the chosen backend is configured wrongly.
    """
    style = context.style_of(request_input.style) if request_input.style else Style("")
    name = request_input.backend or style.backend or context.default_backend
    backend = backends.get(name)
    request, warnings = _request(request_input, style, context, name)
    fitted = backend.fit(request)
    return Resolved(
        fitted.request,
        name,
        backends.queue_of(name),
        backend.affinity(fitted.request),
        Requested(
            request.width,
            request.height,
            request.steps,
            request.negative,
            tuple(dict.fromkeys(warnings + fitted.warnings)),
        ),
    )


def make_draft(
    resolved: Resolved,
    request_input: RequestInput,
    context: SubmitContext,
    *,
    now: datetime,
    batch_row: BatchRow | None = None,
) -> JobDraft:
    """The job, ready to be accepted; ``now`` is the submitter's local time."""
    job_id = uuid7()
    return JobDraft(
        id=job_id,
        request=resolved.request,
        output=_output(
            resolved, request_input, context, job_id=job_id, now=now, batch_row=batch_row
        ),
        backend=resolved.backend,
        queue=resolved.queue,
        caller=context.caller,
        delivery_host=context.delivery_host,
        lane=Lane.BULK if batch_row else Lane.INTERACTIVE,
        affinity=resolved.affinity,
        batch_id=batch_row.batch_id if batch_row else None,
        position=batch_row.position if batch_row else None,
        run=batch_row.run if batch_row else 0,
        dedupe_key=batch_row.dedupe_key if batch_row else None,
        owner_user_id=context.owner_user_id,
        sync=context.sync,
        requested=resolved.requested,
    )


def draw_seed() -> int:
    """A random seed, 1..2**32-1, for a request without one."""
    return 1 + secrets.randbelow(MAX_DRAWN_SEED)


def _request(
    request_input: RequestInput, style: Style, context: SubmitContext, backend_name: str
) -> tuple[ImageRequest, tuple[str, ...]]:
    prompt, warnings = require_prompt(request_input.prompt)
    negative, more = clean_prompt(request_input.negative or style.negative, what="negative prompt")
    options, even_more = _clean_options(request_input.options)
    styled, _ = clean_prompt(style.apply(prompt), what="prompt with its style")
    size: Size = style.size or DEFAULT_SIZE
    if request_input.size:
        size = parse_size(request_input.size)
    seed, steps = request_input.seed, request_input.steps
    if not 0 <= seed <= MAX_SEED:
        raise RequestError(f"seed {seed} is outside 0..{MAX_SEED}", "0, or no --seed, draws one")
    if steps < 0:
        raise RequestError(f"steps {steps} is negative", f"0 is the default of {backend_name}")
    request = ImageRequest(
        prompt=prompt,
        styled_prompt=styled,
        width=size.width,
        height=size.height,
        seed=seed or draw_seed(),
        steps=steps or style.steps,
        negative=negative,
        format=_format(request_input.output) or context.format,
        style=style.name,
        options=options,
    )
    return request, warnings + more + even_more


def _clean_options(options: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The options as the ledger can store them; a shell may pass bytes that are not UTF-8."""
    cleaned: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    for key, value in options.items():
        clean_key, about_key = clean_prompt(key, what="name of an option")
        if is_secret_name(clean_key):
            raise SecretOption(
                f"option {clean_key!r} looks like a secret: it would be stored with the image",
                "a replicate backend takes it from the environment; configure"
                f" input_env: {{{clean_key}: {clean_key.upper()}}}, and export the variable",
                (clean_key,),
            )
        cleaned[clean_key], about_value = clean_prompt(value, what=f"option {clean_key}")
        warnings += about_key + about_value
    return cleaned, warnings


def _format(output: str) -> str:
    """The format that an explicit output file asks for; "" where none is given."""
    if not output:
        return ""
    suffix = Path(output).suffix.lower()
    if suffix not in FORMAT_BY_SUFFIX:
        raise RequestError(
            f"--output {output!r} does not end in an image suffix",
            "use .png, .jpg or .webp",
        )
    return FORMAT_BY_SUFFIX[suffix]


def _output(
    resolved: Resolved,
    request_input: RequestInput,
    context: SubmitContext,
    *,
    job_id: UUID,
    now: datetime,
    batch_row: BatchRow | None,
) -> Output:
    sidecar = context.sidecar if request_input.sidecar is None else request_input.sidecar
    folder = _storable(str(context.output_folder))
    if request_input.output:
        path = Path(_storable(request_input.output))
        check_length(path, sidecar=sidecar)
        return Output(str(path.parent), path.name, True, sidecar, context.metadata)
    request = resolved.request
    name = render_name(
        context.naming,
        {
            "date": now.strftime("%Y-%m-%d"),
            "time": now.strftime("%H%M%S"),
            "slug": slugify(request.prompt),
            "seed": request.seed,
            "backend": resolved.backend,
            "id": job_id,
            "n": batch_row.position if batch_row else 1,
            "batch": slugify(batch_row.name) if batch_row else "single",
            "width": request.width,
            "height": request.height,
            "model": slugify(resolved.affinity or resolved.backend),
            "style": request.style or "plain",
        },
    )
    if not split_suffix(name)[1]:
        # The template gave no suffix, and an image is not written without one.
        name += ".{ext}"
    check_length(Path(folder, name), sidecar=sidecar, numbered=True)
    return Output(folder, name, False, sidecar, context.metadata)


def _storable(path: str) -> str:
    """The path, if the ledger and the sidecar can hold it.

    Raises:
        RequestError: it is not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"output {path!r} is not UTF-8", "choose another path, or rename its folder"
        ) from None
    return path
