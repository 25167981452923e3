"""Submits a file of prompts so that submitting it again adds only what is missing.

A row is known by what it asks for, not by its line: by the hash of the resolved request without a
seed that imagen drew, and by how often the file asked for the same before it. So rows may be
inserted, moved or edited between runs.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

from imagen.domain.job import JobDraft, JobState, Output
from imagen.domain.scope import Scope
from imagen.errors import RequestError
from imagen.ledger.jobs.cancel_and_retry import retry_jobs
from imagen.ledger.jobs.submit import KnownRow, OpenedBatch, known_rows, open_batch, submit_rows
from imagen.ledger.store.engine import Ledger
from imagen.services.submit.prompt_file import PromptFile, PromptLine
from imagen.services.submit.resolve import (
    Backends,
    BatchRow,
    RequestInput,
    Resolved,
    SubmitContext,
    make_draft,
    resolve,
)

CHUNK = 1_000
#: How many rows that failed before are kept for the answer.
_MOST_FAILED_KEPT = 20


@dataclass(frozen=True, slots=True)
class BatchIdentity:
    """``key`` is what makes two runs the same batch, ``name`` what users call it."""

    key: str
    name: str


def identify_batch(source: str, prompts: PromptFile, folder: Path, *, name: str) -> BatchIdentity:
    """The batch of a file, or of standard input for ``-``: by its name, else by file and folder."""
    if name:
        return BatchIdentity(f"name:{name}", name)
    if source == "-":
        return BatchIdentity(f"sha256:{prompts.sha256}:{folder}", "stdin")
    return BatchIdentity(f"file:{Path(source).resolve()}:{folder}", Path(source).stem)


@dataclass(frozen=True, slots=True)
class SubmittedBatch:
    """What a run of a batch has found and added so far.

    ``unfinished`` and ``done`` were accepted by earlier runs. ``failed_ids`` are the first of the
    ``left_failed`` rows that failed, or were canceled, in earlier runs and are left alone.
    """

    batch: OpenedBatch
    total: int = 0
    added: int = 0
    unfinished: int = 0
    done: int = 0
    retried: int = 0
    left_failed: int = 0
    failed_ids: tuple[UUID, ...] = ()

    @property
    def scope(self) -> Scope:
        """The jobs of this run."""
        return Scope(batch_id=self.batch.id, run=self.batch.run)

    @property
    def to_draw(self) -> int:
        """How many rows this run still has to draw."""
        return self.added + self.unfinished + self.retried


@dataclass(frozen=True)
class BatchRun:
    """Submits the rows of one run of a batch."""

    ledger: Ledger
    context: SubmitContext
    backends: Backends
    #: Every row's request but for its prompt.
    common: RequestInput
    now: datetime
    retry_failed: bool = False
    #: Raises RequestError for an output that the process which will write it refuses.
    require_output: Callable[[Output], None] = lambda _: None

    def backend(self) -> str:
        """The backend of every row.

        Raises:
            RequestError, ConfigError: what is wrong with the request of every row.
        """
        any_row = replace(self.common, prompt="any prompt")
        return resolve(any_row, self.context, self.backends).backend

    def submit(
        self,
        lines: Iterable[PromptLine],
        identity: BatchIdentity,
        *,
        on_chunk: Callable[[SubmittedBatch], None] = lambda _: None,
    ) -> SubmittedBatch:
        """Accept every row of ``lines`` that is not in the ledger yet, a thousand at a time.

        If this process is killed, the next run continues where it stopped. Memory grows by sixteen
        bytes and a count for each row.

        Raises:
            RequestError: a row cannot be drawn; rows before it are accepted.
        """
        submitted = SubmittedBatch(open_batch(self.ledger, identity.key, name=identity.name))
        seen: Counter[bytes] = Counter()
        for chunk in _chunks(lines):
            submitted = self._submit_chunk(chunk, submitted, seen, identity.name)
            on_chunk(submitted)
        return submitted

    def _submit_chunk(
        self, chunk: list[PromptLine], before: SubmittedBatch, seen: Counter[bytes], name: str
    ) -> SubmittedBatch:
        rows: dict[str, tuple[PromptLine, Resolved]] = {}
        for line in chunk:
            with _naming(line):
                resolved = resolve(self._input(line), self.context, self.backends)
            digest = row_digest(resolved, self.common.seed)
            seen[digest] += 1
            rows[f"{before.batch.id.hex}:{digest.hex()}:{seen[digest]}"] = (line, resolved)
        run = before.batch.run
        known = known_rows(self.ledger, list(rows), run=run)
        drafts = [
            self._draft(*row, BatchRow(before.batch.id, name, run, row[0].position, dedupe_key))
            for dedupe_key, row in rows.items()
            if dedupe_key not in known
        ]
        if drafts:
            submit_rows(self.ledger, drafts, run=run)
        after = replace(before, total=before.total + len(rows), added=before.added + len(drafts))
        return self._count_known(after, known.values())

    def _input(self, line: PromptLine) -> RequestInput:
        return replace(self.common, prompt=line.prompt)

    def _draft(self, line: PromptLine, resolved: Resolved, batch_row: BatchRow) -> JobDraft:
        request_input = self._input(line)
        with _naming(line):
            draft = make_draft(
                resolved, request_input, self.context, now=self.now, batch_row=batch_row
            )
            self.require_output(draft.output)
        return draft

    def _count_known(self, before: SubmittedBatch, known: Collection[KnownRow]) -> SubmittedBatch:
        counts = Counter(row.state for row in known)
        ended = [row for row in known if row.state in (JobState.FAILED, JobState.CANCELED)]
        done = counts[JobState.SUCCEEDED]
        after = replace(
            before,
            done=before.done + done,
            unfinished=before.unfinished + counts.total() - done - len(ended),
        )
        if not ended:
            return after
        ids = tuple(row.id for row in ended)
        if self.retry_failed:
            retried = retry_jobs(self.ledger, Scope(job_ids=ids), run=before.batch.run)
            return replace(after, retried=before.retried + len(retried))
        return replace(
            after,
            left_failed=before.left_failed + len(ended),
            failed_ids=(before.failed_ids + ids)[:_MOST_FAILED_KEPT],
        )


@contextmanager
def _naming(line: PromptLine) -> Iterator[None]:
    """Makes a refusal name the line of the file that it is about."""
    try:
        yield
    except RequestError as error:
        raise RequestError(f"line {line.number}: {error.message}", error.hint) from error


def row_digest(resolved: Resolved, given_seed: int) -> bytes:
    """Sixteen bytes that are the same for rows that ask for the same image."""
    content = resolved.request.to_json() | {"seed": given_seed, "backend": resolved.backend}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()[:16]


def _chunks(lines: Iterable[PromptLine]) -> Iterator[list[PromptLine]]:
    remaining = iter(lines)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
