"""Which jobs a process may take: all of some queues, or only those of a command."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Scope:
    """All jobs, unless narrowed to some ids or to the rows of one run of a batch.

    A run of a batch stamps the rows of its file with its number. Rows that a later run has too
    get the larger number, so that two runs of one file share the work and neither draws rows
    that were removed from the file.
    """

    job_ids: tuple[UUID, ...] | None = None
    batch_id: UUID | None = None
    run: int = 0
    #: Only jobs that this host has to deliver: this process could not finish the others.
    delivery_host: str | None = None
    #: No jobs that these hosts have to deliver, in alphabetical order.
    without_hosts: tuple[str, ...] = ()


EVERYTHING = Scope()
