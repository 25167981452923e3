"""Image bytes between drawing and delivery.

With PostgreSQL they are rows, so that they commit together with ``generated`` and any host can
deliver; with SQLite large ones are files beside the database, written before that commit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
)

from imagen.domain.job import TERMINAL_STATES, Claim, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.store.clauses import scope_clause
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import CLOUD_SINK, outbox
from imagen.ledger.store.tables import artifacts, jobs

#: Up to this size SQLite keeps and reads bytes faster itself than the file system does.
#: Source: sqlite.org/intern-v-extern-blob.html (read 2026-11); here a new file alone took 0.2 ms.
SMALL_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Artifact:
    """One image on its way; ``key`` is its attempt and fence, so no two claims share one."""

    key: str
    job_id: UUID
    data: bytes
    sha256: str


def artifact_of(claim: Claim, data: bytes) -> Artifact:
    """The image that this claim drew."""
    key = f"{claim.attempt.id}-{claim.job.fence}"
    return Artifact(key, claim.job.id, data, hashlib.sha256(data).hexdigest())


def write_artifact_file(ledger: Ledger, artifact: Artifact, *, durable: bool) -> bool:
    """Write the bytes to a file where the ledger keeps files; its row is written afterwards.

    Returns False where the bytes belong in the row.

    Raises:
        LedgerUnavailable: the file cannot be written (no space, no permission).
    """
    if ledger.artifact_folder is None or len(artifact.data) <= SMALL_BYTES:
        return False
    _write_file(ledger.artifact_folder / artifact.key, artifact.data, durable=durable)
    return True


def has_artifact(ledger: Ledger, key: str) -> bool:
    """Whether a row names the artifact ``key``: its drawing is committed."""
    with ledger.read() as connection:
        row = connection.execute(select(artifacts.c.key).where(artifacts.c.key == key)).first()
    return row is not None


def load_artifacts(ledger: Ledger, job_ids: Sequence[UUID]) -> dict[UUID, Artifact]:
    """The newest artifact of each job that has one whose bytes are intact."""
    columns = [artifacts.c.key, artifacts.c.job_id, artifacts.c.sha256, artifacts.c.data]
    found: dict[UUID, Artifact] = {}
    with ledger.read() as connection:
        rows = connection.execute(
            select(*columns)
            .where(artifacts.c.job_id.in_(job_ids))
            .order_by(artifacts.c.created_at, artifacts.c.key)
        ).all()
    for row in rows:
        data = _read_file(ledger, row.key) if row.data is None else row.data
        # After a power cut a file may be truncated or missing; the hash shows it.
        if data is not None and hashlib.sha256(data).hexdigest() == row.sha256:
            found[row.job_id] = Artifact(row.key, row.job_id, data, row.sha256)
    return found


def artifact_sizes(ledger: Ledger, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many bytes ``load_artifacts`` would read for each job that has an artifact."""
    statement = (
        select(artifacts.c.job_id, func.sum(artifacts.c.size_bytes).label("size_bytes"))
        .where(artifacts.c.job_id.in_(job_ids))
        .group_by(artifacts.c.job_id)
    )
    with ledger.read() as connection:
        return {row.job_id: int(row.size_bytes) for row in connection.execute(statement)}


def undelivered_bytes(ledger: Ledger, scope: Scope = EVERYTHING) -> int:
    """How many bytes of the scope's jobs wait for delivery.

    A command that draws and delivers a scope stops drawing above a limit.
    """
    with ledger.read() as connection:
        total = connection.scalar(
            select(func.coalesce(func.sum(artifacts.c.size_bytes), 0))
            .select_from(artifacts.join(jobs, jobs.c.id == artifacts.c.job_id))
            .where(jobs.c.state == JobState.GENERATED, scope_clause(scope))
        )
    return int(total or 0)


def full_hosts(ledger: Ledger, *, most_bytes: int) -> tuple[str, ...]:
    """The hosts for which more than ``most_bytes`` wait for delivery, in alphabetical order.

    Each host counts for itself: the images of one that is switched off wait for it alone.
    """
    waiting = func.sum(artifacts.c.size_bytes)
    statement = (
        select(jobs.c.delivery_host)
        .select_from(artifacts.join(jobs, jobs.c.id == artifacts.c.job_id))
        .where(jobs.c.state == JobState.GENERATED)
        .group_by(jobs.c.delivery_host)
        .having(waiting > literal(most_bytes, BigInteger))
        .order_by(jobs.c.delivery_host)
    )
    with ledger.read() as connection:
        return tuple(connection.scalars(statement))


def forget_artifacts(connection: Connection, keys: Sequence[str]) -> None:
    """Drop the rows, in an open transaction; ``drop_files`` follows after its commit."""
    connection.execute(delete(artifacts).where(artifacts.c.key.in_(keys)))


def drop_artifacts_of(ledger: Ledger, job_id: UUID) -> None:
    """Drop every artifact of a job whose image has arrived at its file and in the cloud."""
    mine = artifacts.c.job_id == job_id
    with ledger.write(durable=False) as connection:
        keys = list(connection.scalars(select(artifacts.c.key).where(mine)))
        connection.execute(delete(artifacts).where(mine))
    drop_files(ledger, keys)


def drop_files(ledger: Ledger, keys: Iterable[str]) -> None:
    """Drop the files of a SQLite ledger; unknown keys are no error."""
    if ledger.artifact_folder is None:
        return
    for key in keys:
        with contextlib.suppress(FileNotFoundError):
            (ledger.artifact_folder / key).unlink()


def obsolete_keys(ledger: Ledger, *, limit: int = 1000) -> list[str]:
    """Artifacts that are needed no more: of jobs delivered, sent or canceled, or superseded."""
    ended = [state for state in TERMINAL_STATES if state is not JobState.FAILED]
    newer = artifacts.alias("newer")
    has_newer = (
        select(newer.c.key).where(newer.c.job_id == artifacts.c.job_id, _is_newer(newer)).exists()
    )
    still_to_send = (
        select(outbox.c.id)
        .where(
            outbox.c.job_id == artifacts.c.job_id,
            outbox.c.sink == CLOUD_SINK,
            outbox.c.done_at.is_(None),
        )
        .exists()
    )
    with ledger.read() as connection:
        rows = connection.scalars(
            select(artifacts.c.key)
            .select_from(artifacts.join(jobs, jobs.c.id == artifacts.c.job_id))
            .where((jobs.c.state.in_(ended) & ~still_to_send) | has_newer)
            .order_by(artifacts.c.key)
            .limit(limit)
        )
        return list(rows)


def _is_newer(other: FromClause) -> ColumnElement[bool]:
    """As ``load_artifacts`` orders them: time, then key."""
    same_time = and_(other.c.created_at == artifacts.c.created_at, other.c.key > artifacts.c.key)
    return or_(other.c.created_at > artifacts.c.created_at, same_time)


def orphan_files(ledger: Ledger) -> list[str]:
    """Files beside a SQLite ledger that no row names: their writer died before its commit."""
    folder = ledger.artifact_folder
    if folder is None or not folder.is_dir():
        return []
    # The folder is read before the rows: a file written in between is named by a row by then, or
    # is too young to be in the list.
    names = [entry.name for entry in os.scandir(folder) if _is_settled(entry)]
    if not names:
        return []
    with ledger.read() as connection:
        known = set(connection.scalars(select(artifacts.c.key)))
    return [name for name in names if name not in known]


#: A file younger than this may belong to a transaction that is about to commit.
_SETTLED_S = 60.0


def _is_settled(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat().st_mtime > _SETTLED_S
    except FileNotFoundError:
        return False


def _write_file(path: Path, data: bytes, *, durable: bool) -> None:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise LedgerUnavailable(
            f"cannot keep an image in {path.parent}: {error.strerror}", "free some space there"
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_file(ledger: Ledger, key: str) -> bytes | None:
    if ledger.artifact_folder is None:
        return None
    try:
        return (ledger.artifact_folder / key).read_bytes()
    except FileNotFoundError:
        return None
