"""Submits a file of prompts so that running it again draws only what is missing.

A row is known by what it asks for, not by where it stands: the hash of the resolved request
without the seed that imagen drew, and how often the same was asked for before in the file. So rows
may be inserted, moved or edited between runs.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from uuid import UUID

from imagen.domain.job import JobState, Output
from imagen.domain.scope import Scope
from imagen.errors import RequestError
from imagen.ledger.jobs.control import retry_jobs
from imagen.ledger.jobs.submit import Known, OpenedBatch, known_rows, open_batch, submit_rows
from imagen.ledger.store.engine import Ledger
from imagen.services.submit.prompt_file import Line
from imagen.services.submit.resolve import (
    Backends,
    BatchPlace,
    RequestInput,
    Resolved,
    SubmitContext,
    make_draft,
    resolve,
)

CHUNK = 1_000
#: How many rows that failed before are named; more would not be read.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that failed, or was canceled, in an earlier run and is left alone."""

    position: int
    job_id: UUID
    reason: str


@dataclass
class Submitted:
    """What a run of a batch found and added."""

    batch: OpenedBatch
    total: int = 0
    added: int = 0
    #: Accepted by an earlier run and still on their way.
    unfinished: int = 0
    done: int = 0
    retried: int = 0
    left_failed: int = 0
    named_failures: list[FailedRow] = field(default_factory=list)

    @property
    def scope(self) -> Scope:
        return Scope(batch_id=self.batch.id, run=self.batch.run)

    @property
    def to_draw(self) -> int:
        """How many rows this run still has to draw."""
        return self.added + self.unfinished + self.retried


@dataclass(frozen=True)
class BatchRun:
    """One run of ``imagen batch`` up to where its rows are accepted."""

    ledger: Ledger
    context: SubmitContext
    backends: Backends
    #: Every row's request but for its prompt.
    common: RequestInput
    now: datetime
    retry_failed: bool = False
    #: Raises RequestError for an output that the process which will write it refuses.
    require_output: Callable[[Output], None] = lambda _: None

    def submit(
        self,
        lines: Iterable[Line],
        *,
        key: str,
        name: str,
        on_chunk: Callable[[Submitted], None] = lambda _: None,
    ) -> Submitted:
        """Accept every row of ``lines`` that is not in the ledger yet, a thousand at a time.

        Killed anywhere, a later run goes on where this one stopped. Memory does not grow with the
        number of rows, but for sixteen bytes and a count each.

        Raises:
            RequestError: a row asks for what cannot be; rows before it are accepted.
        """
        submitted = Submitted(open_batch(self.ledger, key, name=name))
        seen: Counter[bytes] = Counter()
        for chunk in _chunks(lines):
            self._submit_chunk(chunk, submitted, seen, name)
            on_chunk(submitted)
        return submitted

    def _submit_chunk(
        self, chunk: list[Line], submitted: Submitted, seen: Counter[bytes], name: str
    ) -> None:
        rows = {}
        for line in chunk:
            ask = replace(self.common, prompt=line.prompt)
            resolved = self._resolve(ask, line)
            digest = row_digest(resolved, ask.seed)
            seen[digest] += 1
            rows[f"{submitted.batch.id.hex}:{digest.hex()}:{seen[digest]}"] = (line, ask, resolved)
        run = submitted.batch.run
        known = known_rows(self.ledger, list(rows), run=run)
        drafts = []
        for dedupe_key, (line, ask, resolved) in rows.items():
            submitted.total += 1
            if dedupe_key in known:
                continue
            place = BatchPlace(submitted.batch.id, name, run, line.position, dedupe_key)
            with _naming(line):
                draft = make_draft(resolved, ask, self.context, now=self.now, place=place)
                self.require_output(draft.output)
            drafts.append(draft)
        if drafts:
            submit_rows(self.ledger, drafts, run=run)
            submitted.added += len(drafts)
        self._count_known(submitted, known.values())

    def _resolve(self, ask: RequestInput, line: Line) -> Resolved:
        with _naming(line):
            return resolve(ask, self.context, self.backends)

    def _count_known(self, submitted: Submitted, known: Iterable[Known]) -> None:
        ended = []
        for row in known:
            if row.state is JobState.SUCCEEDED:
                submitted.done += 1
            elif row.state.is_terminal:
                ended.append(row)
            else:
                submitted.unfinished += 1
        if not ended:
            return
        if self.retry_failed:
            scope = Scope(job_ids=tuple(row.id for row in ended))
            submitted.retried += len(retry_jobs(self.ledger, scope, run=submitted.batch.run))
            return
        submitted.left_failed += len(ended)
        room = _NAMED - len(submitted.named_failures)
        submitted.named_failures += [
            FailedRow(row.position or 0, row.id, row.error_message or row.state.value)
            for row in ended[:room]
        ]


@contextmanager
def _naming(line: Line) -> Iterator[None]:
    """Lets a refusal say on which line of the file it is about."""
    try:
        yield
    except RequestError as error:
        raise RequestError(f"line {line.number}: {error.message}", error.hint) from error


def row_digest(resolved: Resolved, asked_seed: int) -> bytes:
    """Sixteen bytes that are the same for rows that ask for the same image."""
    content = resolved.request.to_json() | {"seed": asked_seed, "backend": resolved.backend}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()[:16]


def _chunks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    remaining = iter(lines)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
