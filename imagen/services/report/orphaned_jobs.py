"""Unfinished jobs that a stopped command leaves: those without a worker, and those that cost."""

from __future__ import annotations

from uuid import UUID

from imagen.domain.protocols import BackendLookup
from imagen.domain.scope import Scope
from imagen.errors import ImagenError
from imagen.ledger.queries import unfinished_jobs
from imagen.ledger.store.engine import Ledger

#: Orphaned jobs are counted up to here.
MOST_COUNTED = unfinished_jobs.MOST_COUNTED


def count_orphaned_jobs(ledger: Ledger, *, host: str, without: UUID) -> int:
    """How many unfinished jobs of ``host`` no process holds, up to ``MOST_COUNTED``.

    The job ``without`` is left out. 0 while any process draws or delivers there: a running batch
    keeps thousands of jobs waiting.
    """
    return unfinished_jobs.count_orphaned(ledger, host=host, without=[without])


def costly_jobs(ledger: Ledger, backends: BackendLookup, scope: Scope) -> list[UUID]:
    """The unfinished jobs of the scope that a paid backend may be drawing, oldest first."""
    found = unfinished_jobs.submitted_jobs(ledger, scope)
    return [job_id for job_id, backend in found if _is_paid(backends, backend)]


def _is_paid(backends: BackendLookup, name: str) -> bool:
    """Whether drawing with that backend costs money; False where it is not configured here."""
    try:
        return not backends.get(name).repeat_is_free
    except ImagenError:
        return False
