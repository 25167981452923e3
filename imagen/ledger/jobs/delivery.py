"""The delivery side of the ledger: generated jobs of one host, taken up to 64 at once.

A delivery claim is another statement than a drawing claim, with states of its own: a generate
message can never take a generated job and draw it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, null

from imagen.domain.job import AttemptState, Claim, JobState, Phase
from imagen.ledger.jobs.artifacts import forget_artifacts
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.jobs.delivery_statements import alone_waits, rows_of, set_target, succeed, take
from imagen.ledger.jobs.fenced_writes import write_attempt, write_held
from imagen.ledger.outbox.outbox import put_in_outbox
from imagen.ledger.store.clauses import NO_LEASE
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import CLOUD_SINK
from imagen.ledger.store.rows import attempt_from_row, job_from_row, select_attempts
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus

#: How many deliveries one claim takes at most.
DRAIN_SIZE = 64


def claim_deliveries(
    ledger: Ledger, claimant: Claimant, *, host: str, limit: int = DRAIN_SIZE
) -> list[Claim]:
    """Generated jobs that ``host`` has to deliver, now leased to the claimant; oldest first.

    A job whose delivery was begun several times without an end is returned alone. It comes first,
    as it waits after each death of a worker: so neither it nor the others starve.
    """
    given = {"b_host": host}
    with ledger.read() as connection:
        alone = connection.execute(alone_waits(claimant.scope), given).first() is not None
    values = given | {
        "b_owner": claimant.owner,
        "b_lease_s": claimant.lease_s,
        "b_limit": 1 if alone else limit,
    }
    with ledger.write(durable=False) as connection:
        rows = connection.execute(take(claimant.scope, alone=alone), values).all()
        if not rows:
            return []
        found = connection.execute(
            select_attempts().where(attempts.c.id.in_([row.attempt_id for row in rows]))
        ).all()
    by_id = {row.id: attempt_from_row(row) for row in found}
    claims = [
        Claim(job_from_row(row), by_id[row.attempt_id], claimant.owner, row.limited_s or 0.0)
        for row in rows
    ]
    return sorted(claims, key=lambda claim: claim.job.id)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery whose files are on disk."""

    claim: Claim
    output_path: str
    file_sha256: str
    artifact_key: str
    #: A copy is to go to the cloud; the artifact stays until it arrived.
    goes_to_cloud: bool = False


def record_targets(ledger: Ledger, targets: Sequence[tuple[Claim, str]]) -> list[bool]:
    """Commit, synced, each claim's path before it is written; returns which are still held."""
    given = rows_of((claim, {"output_path": path}) for claim, path in targets)
    with ledger.write_one() as connection:
        held = set(connection.scalars(set_target(ledger.kind), given))
    return [claim.job.id in held for claim, _ in targets]


def record_succeeded(ledger: Ledger, delivered: Sequence[Delivered]) -> list[bool]:
    """Commit, synced, that the files exist, what is still to be sent, and drop the artifacts.

    One transaction for all. Returns which claims still held their job. A claim that did not
    changes nothing: for the next holder its file is an earlier try of the same job.
    """
    given = rows_of(
        (done.claim, {"output_path": done.output_path, "file_sha256": done.file_sha256})
        for done in delivered
    )
    with ledger.write() as connection:
        held = set(connection.scalars(succeed(ledger.kind), given))
        ours = [done for done in delivered if done.claim.job.id in held]
        put_in_outbox(
            ledger, connection, [done.claim for done in ours if done.goes_to_cloud], sink=CLOUD_SINK
        )
        keys = [done.artifact_key for done in ours if not done.goes_to_cloud]
        if keys:
            forget_artifacts(connection, keys)
    return [done.claim.job.id in held for done in delivered]


def record_delivery_failed(ledger: Ledger, claim: Claim, *, code: str, message: str) -> bool:
    """The job's end for now: ``failed`` in phase ``deliver``; the artifact is kept.

    Returns whether the claim still held the job.
    """
    with ledger.write() as connection:
        return write_held(
            connection,
            claim,
            JobState.GENERATED,
            state=JobState.FAILED.value,
            error_code=code,
            error_message=message,
            finished_at=now_plus(),
            **NO_LEASE,
        )


def put_off_deliveries(
    ledger: Ledger, claims: Sequence[Claim], *, wait_s: float, code: str, message: str
) -> None:
    """Put off jobs that cannot be written now, for ``wait_s`` seconds.

    The time of the first such wait is kept. Not synced: one that a power cut undoes is tried
    sooner.
    """
    with ledger.write(durable=False) as connection:
        for claim in sorted(claims, key=lambda claim: claim.job.id):
            write_held(
                connection,
                claim,
                JobState.GENERATED,
                not_before=now_plus(wait_s),
                limited_since=func.coalesce(jobs.c.limited_since, now_plus()),
                # The count is of deliveries that were begun and did not end.
                delivery_count=jobs.c.delivery_count - 1,
                error_code=code,
                error_message=message,
                **NO_LEASE,
            )


def draw_again(ledger: Ledger, claim: Claim) -> bool:
    """Back to ``queued`` because the bytes are gone, with the same attempt opened again.

    A backend that still has the image hands it over once more; a free one draws it again.
    Returns whether the claim still held the job.
    """
    attempt_state = AttemptState.SUBMITTED if claim.attempt.external_id else AttemptState.STARTED
    with ledger.write() as connection:
        is_held = write_held(
            connection,
            claim,
            JobState.GENERATED,
            state=JobState.QUEUED.value,
            phase=Phase.DRAW.value,
            limited_since=null(),
            **NO_LEASE,
        )
        if is_held:
            write_attempt(connection, claim, state=attempt_state.value, finished_at=null())
    return is_held
