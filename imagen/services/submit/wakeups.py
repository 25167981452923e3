"""Wake-up messages: what people see of a job in Flower and in logs."""

from __future__ import annotations

from imagen.domain.job import Job, JobDraft, Wakeup
from imagen.output.naming import slugify

#: A label must not give a prompt away.
_SLUG_CHARS = 24


def wakeup_for(job: Job | JobDraft) -> Wakeup:
    """The wake-up of a job: backend, size and the beginning of its slug."""
    slug = slugify(job.request.prompt, max_chars=_SLUG_CHARS)
    return Wakeup(job.id, f"{job.backend} {job.request.size} {slug}")
