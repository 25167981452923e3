"""Which jobs a process may take: all of some queues, or only those of a command."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


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
    #: Only jobs that this host has to deliver: this process could not finish the others.
    delivery_host: str | None = None
    #: No jobs that these hosts have to deliver, in alphabetical order.
    without_hosts: tuple[str, ...] = ()


EVERYTHING = Scope()
