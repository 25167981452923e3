"""Pauses of backends, for every process: set, lifted, and counted with the jobs that wait."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, delete, func, null, or_, select, update

from imagen.domain.job import JobState
from imagen.errors import CredentialError, OutOfCredit, RateLimited
from imagen.ledger.store.clauses import in_order, insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import jobs, pauses
from imagen.ledger.store.types import now_plus


def pause_backend(
    ledger: Ledger, backend: str, *, reason: str, pause_s: float | None, code: str | None = None
) -> None:
    """Stop claiming jobs of a backend for ``pause_s`` seconds, or until ``resume_backend``.

    ``code`` is that of the error that caused it.
    """
    until = null() if pause_s is None else now_plus(pause_s)
    with ledger.write() as connection:
        statement = insert_on(ledger, pauses).values(
            backend=backend, until=until, reason=reason, code=code, created_at=now_plus()
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["backend"],
                set_={"until": until, "reason": reason, "code": code, "created_at": now_plus()},
            )
        )


def resume_backends(ledger: Ledger, backend: str, *, account: Sequence[str] = ()) -> list[str]:
    """Lift the pause of a backend, and the waits that the error gave its jobs.

    The same for the other backends of its ``account`` that were paused by an error.
    Returns the backends that were paused, in alphabetical order.
    """
    by_error = and_(pauses.c.backend.in_(account), pauses.c.code.is_not(null()))
    with ledger.write() as connection:
        lifted = connection.scalars(
            delete(pauses)
            .where(or_(pauses.c.backend == backend, by_error))
            .returning(pauses.c.backend)
        ).all()
        put_off = and_(
            jobs.c.backend.in_([backend, *lifted]),
            jobs.c.state == JobState.QUEUED,
            jobs.c.error_code.in_(_PAUSING),
        )
        connection.execute(update(jobs).where(in_order(put_off)).values(not_before=null()))
    return sorted(lifted)


#: The errors that pause backends.
_PAUSING = (OutOfCredit.code, CredentialError.code, RateLimited.code)


def paused_backends(ledger: Ledger) -> dict[str, str]:
    """Every paused backend with the reason."""
    return {name: reason for name, (_, reason) in pauses_with_codes(ledger).items()}


def pauses_with_codes(ledger: Ledger) -> dict[str, tuple[str | None, str]]:
    """Every paused backend with the code of the error that paused it, and the reason."""
    statement = select(pauses.c.backend, pauses.c.code, pauses.c.reason).where(
        or_(pauses.c.until.is_(null()), pauses.c.until > now_plus())
    )
    with ledger.read() as connection:
        return {row.backend: (row.code, row.reason) for row in connection.execute(statement)}


def count_paused(ledger: Ledger) -> dict[str, tuple[str, int]]:
    """The reason, and the number of queued jobs, of each paused backend that has some."""
    paused = paused_backends(ledger)
    if not paused:
        return {}
    statement = (
        select(jobs.c.backend, func.count())
        .where(jobs.c.state == JobState.QUEUED, jobs.c.backend.in_(paused))
        .group_by(jobs.c.backend)
        .order_by(jobs.c.backend)
    )
    with ledger.read() as connection:
        return {row[0]: (paused[row[0]], row[1]) for row in connection.execute(statement)}
