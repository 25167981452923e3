"""Counts crashes of jobs whose worker has died; the rules are in docs/architecture.md.

A job that kills its workers has to be told apart from one whose workers died for another reason.
So a crash raises suspicion only where no other worker died since the job's last one, and few died
lately; a suspect runs alone in its process, and only a death while it was alone ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from imagen.domain.job import TERMINAL_STATES, Claim, JobState
from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts, jobs, locks
from imagen.ledger.store.types import UtcDateTime, now_plus

#: From this crash on a job is a suspect.
SUSPECT_AFTER = 2
#: For so long a worker that died for another reason excuses the crashes of other jobs …
EXCUSE_S = 60.0
#: … but not for more than so many times ``max_crashes``.
PATIENCE = 2

#: So many deaths within ``EXCUSE_S`` excuse every job's crashes: two jobs that kill their workers
#: cannot cause as many, since each is alone for its last try (with 5 for ``max_crashes``).
MANY_DEATHS = 10

#: The rows of ``locks`` that say, in ``expires_at``, when a worker died that drew no suspect.
_DEATH = "worker death "


@dataclass(frozen=True, slots=True)
class Deaths:
    """Workers that died within ``EXCUSE_S`` without holding a suspect."""

    number: int
    last_at: datetime | None


def recent_deaths(connection: Connection) -> Deaths:
    """Those recorded before the crashes that are about to be counted."""
    row = connection.execute(
        select(func.count(), func.max(locks.c.expires_at)).where(
            locks.c.name.startswith(_DEATH, autoescape=True),
            locks.c.expires_at > now_plus(-EXCUSE_S),
        )
    ).one()
    return Deaths(row[0], row[1])


def note_deaths(ledger: Ledger, connection: Connection, crashed: ColumnElement[bool]) -> None:
    """Record the deaths of the workers that held these jobs, except those that held a suspect."""
    innocent = connection.scalars(
        select(jobs.c.lease_owner)
        .where(crashed)
        .group_by(jobs.c.lease_owner)
        .having(func.max(jobs.c.alone_since).is_(null()))
        .order_by(jobs.c.lease_owner)
    ).all()
    for owner in innocent:
        connection.execute(
            insert_on(ledger, locks)
            .values(name=f"{_DEATH}{owner}", owner=owner, expires_at=now_plus())
            .on_conflict_do_update(index_elements=["name"], set_={"expires_at": now_plus()})
        )
    if innocent:
        old = locks.c.expires_at < now_plus(-EXCUSE_S)
        connection.execute(
            delete(locks).where(locks.c.name.startswith(_DEATH, autoescape=True), old)
        )


def crash_values(*, max_crashes: int, deaths: Deaths) -> dict[str, Any]:
    """The columns of a job whose worker died; ``deaths`` are those of before.

    It is queued again, from its second crash on alone, unless it resumes what a backend has taken
    on already; such a job is alone for its last try only. It fails at ``max_crashes``, when it was
    alone and nothing excuses it.
    """
    count = jobs.c.crash_count + 1
    excused: ColumnElement[bool] = literal(deaths.number >= MANY_DEATHS)
    if deaths.last_at is not None:
        came_between = literal(deaths.last_at, UtcDateTime()) > jobs.c.crashed_at
        excused = or_(excused, and_(jobs.c.crashed_at.is_not(null()), came_between))
    is_last = count >= max(1, max_crashes - 1)
    is_suspect = or_(and_(count >= SUSPECT_AFTER, ~excused, ~_is_at_backend()), is_last)
    was_alone = jobs.c.alone_since.is_not(null()) if max_crashes > 1 else literal(True)
    is_over = or_(and_(count >= max_crashes, ~excused), count >= PATIENCE * max_crashes)
    failed = and_(was_alone, is_over)
    return {
        "state": case((failed, JobState.FAILED.value), else_=JobState.QUEUED.value),
        "finished_at": case((failed, now_plus()), else_=null()),
        "error_code": "worker_crashed",
        "error_message": case(
            (failed, f"the worker died {max_crashes} times while drawing this job"),
            else_="the worker died while drawing this job",
        ),
        "crash_count": count,
        # An excuse covers the next crash, too: as long as it is recent, this one does not count.
        "crashed_at": case((excused, jobs.c.crashed_at), else_=now_plus()),
        "crash_fence": jobs.c.fence + 1,
        "alone_since": case(
            (is_suspect, func.coalesce(jobs.c.alone_since, now_plus())), else_=null()
        ),
    }


def _is_at_backend() -> ColumnElement[bool]:
    return (
        select(attempts.c.id)
        .where(attempts.c.id == jobs.c.attempt_id, attempts.c.external_id.is_not(null()))
        .exists()
    )


def deny_crash(ledger: Ledger, claim: Claim) -> None:
    """Take back the crash that was counted when this claim's lease ran out: its holder is alive.

    Its process was stopped, or could not reach the ledger. Does nothing when none was counted.
    """
    with ledger.write() as connection:
        connection.execute(
            update(jobs)
            .where(
                jobs.c.id == claim.job.id,
                jobs.c.crash_fence == claim.job.fence + 1,
                jobs.c.state.not_in(TERMINAL_STATES),
            )
            .values(
                crash_count=jobs.c.crash_count - 1,
                crash_fence=null(),
                alone_since=case(
                    (jobs.c.crash_count > SUSPECT_AFTER, jobs.c.alone_since), else_=null()
                ),
            )
        )
