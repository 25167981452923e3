"""Which jobs a process may take: everything of some queues, or only what a command named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import ColumnElement, and_, true

from imagen.ledger.tables import jobs


@dataclass(frozen=True, slots=True)
class Scope:
    """All jobs, unless narrowed to some ids or to what a run of a batch named.

    A batch stamps the rows of its file with the number of the run; rows that a later run named too
    carry a larger number, so two runs of one file share the work and neither draws what was taken
    out of the file.
    """

    job_ids: tuple[UUID, ...] | None = None
    batch_id: UUID | None = None
    run: int = 0
    #: Only jobs that this host has to deliver: nobody here could finish the others.
    delivery_host: str | None = None
    #: No jobs that these hosts have to deliver, in alphabetical order.
    without_hosts: tuple[str, ...] = ()

    def clause(self) -> ColumnElement[bool]:
        """The condition on ``jobs`` that says a row belongs."""
        if self.without_hosts:
            others = jobs.c.delivery_host.not_in(self.without_hosts)
            return and_(others, replace(self, without_hosts=()).clause())
        if self.delivery_host is not None:
            here = jobs.c.delivery_host == self.delivery_host
            return and_(here, replace(self, delivery_host=None).clause())
        if self.job_ids is not None:
            return jobs.c.id.in_(self.job_ids)
        if self.batch_id is not None:
            return and_(jobs.c.batch_id == self.batch_id, jobs.c.run >= self.run)
        return true()


EVERYTHING = Scope()
