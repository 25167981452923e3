"""What must be true of rows, files and messages after a scenario; every breach is a sentence."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import redis
from sqlalchemy import func, select

from imagen.domain.job import TERMINAL_STATES, AttemptState, JobState
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import imagen_usage
from imagen.ledger.store.tables import artifacts, attempts, jobs
from imagen.output import metadata
from imagen.queue.broker.routing import KEY_PREFIX
from imagen.wiring.drawing_parts import make_reconciler
from tests.processes.environment import Environment

_MOST_NAMED = 5
_ENDED = [state.value for state in TERMINAL_STATES]


@dataclass
class Audit:
    """``breaches`` is empty when nothing was lost, doubled or left behind."""

    jobs: int = 0
    images: int = 0
    sidecars: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    #: Messages that a dead worker had fetched; they are delivered again after the visibility
    #: timeout, for no job.
    unacked: int = 0
    #: Retries that a worker with a wrong clock held until it stopped; also for no job.
    stale_messages: int = 0
    crashes: int = 0
    breaches: list[str] = field(default_factory=list)

    def check_empty(self, what: str, found: Collection[object]) -> None:
        """Add a breach that names the first of ``found``, unless there are none."""
        if found:
            named = ", ".join(str(each) for each in list(found)[:_MOST_NAMED])
            self.breaches.append(f"{len(found)} {what}: {named}")


def reconcile_once(environment: Environment) -> None:
    """Do now what reconcilers do each minute; files are aged, as they spare those just written."""
    folder = environment.ledger.artifact_folder
    if folder is not None and folder.is_dir():
        for path in folder.iterdir():
            old_s = time.time() - 3600
            os.utime(path, (old_s, old_s))
    reconciler = make_reconciler(environment.process(), environment.ledger)
    reconciler.tick()
    reconciler.leave()


def audit(environment: Environment, *, calls_log: Path | None = None) -> Audit:
    """Look at every row, file and message. No process may be at work any more."""
    found = Audit()
    ledger = environment.ledger
    _check_jobs(found, ledger, environment)
    _check_attempts(found, ledger)
    _check_leftovers(found, ledger)
    if calls_log is not None:
        _check_calls(found, ledger, calls_log)
    _check_redis(found, ledger, environment.redis_url)
    _check_usage(found, ledger)
    return found


def _check_jobs(found: Audit, ledger: Ledger, environment: Environment) -> None:
    with ledger.read() as connection:
        rows = connection.execute(select(jobs)).all()
    found.jobs = len(rows)
    if found.jobs != environment.submitted:
        found.breaches.append(f"{found.jobs} jobs of {environment.submitted} submitted prompts")
    found.crashes = sum(row.crash_count for row in rows)
    unfinished = [row for row in rows if row.state != JobState.SUCCEEDED]
    found.check_empty(
        "jobs did not succeed", [(row.id.hex, row.state, row.error_message) for row in unfinished]
    )
    found.check_empty("leases are left", [row.id for row in rows if row.lease_owner is not None])
    paths = [row.output_path for row in rows if row.state == JobState.SUCCEEDED]
    doubled = [path for path, number in Counter(paths).items() if number > 1]
    found.check_empty("files belong to two jobs", list(doubled))
    for row in rows:
        if row.state == JobState.SUCCEEDED:
            for breach in _file_breaches(row.id, Path(row.output_path)):
                found.breaches.append(breach)
    folder = environment.output
    images = {str(path) for path in folder.rglob("*.png")}
    sidecars = {str(path) for path in folder.rglob("*.json")}
    found.images, found.sidecars = len(images), len(sidecars)
    found.check_empty("images belong to no job", sorted(images - set(paths)))
    found.check_empty(
        "sidecars belong to no job", sorted(sidecars - {f"{path}.json" for path in paths})
    )
    others = [path for path in folder.rglob("*") if path.suffix not in (".png", ".json")]
    found.check_empty("temporary files are left", [path for path in others if path.is_file()])


def _file_breaches(job_id: UUID, path: Path) -> Iterator[str]:
    if not path.exists():
        yield f"job {job_id} has no file {path}"
        return
    record = metadata.read(path.read_bytes())
    if record is None or record.get("job_id") != str(job_id):
        yield f"{path} is not of job {job_id}"
    sidecar = path.with_name(f"{path.name}.json")
    if not sidecar.exists():
        yield f"job {job_id} has no sidecar {sidecar}"
    elif json.loads(sidecar.read_text()).get("job_id") != str(job_id):
        yield f"{sidecar} is not of job {job_id}"


def _check_attempts(found: Audit, ledger: Ledger) -> None:
    with ledger.read() as connection:
        rows = connection.execute(select(attempts)).all()
    found.attempts = Counter(row.state for row in rows)
    drawn = Counter(row.job_id for row in rows if row.state == AttemptState.DRAWN)
    found.check_empty("jobs were drawn twice", [job for job, number in drawn.items() if number > 1])
    with ledger.read() as connection:
        succeeded = connection.scalars(
            select(jobs.c.id).where(jobs.c.state == JobState.SUCCEEDED)
        ).all()
    found.check_empty(
        "jobs succeeded without a drawn attempt", [job for job in succeeded if job not in drawn]
    )
    found.check_empty("attempts are open", [row.id for row in rows if row.finished_at is None])


def _check_usage(found: Audit, ledger: Ledger) -> None:
    """Each metered image is in the usage table once."""
    with ledger.read() as connection:
        billed = Counter(connection.scalars(select(imagen_usage.c.attempt_id)))
        drawn = set(
            connection.scalars(
                select(attempts.c.id).where(
                    attempts.c.state == AttemptState.DRAWN, attempts.c.is_metered
                )
            )
        )
    found.check_empty(
        "attempts are in the usage table twice", [key for key, n in billed.items() if n > 1]
    )
    found.check_empty("images are not in the usage table", sorted(drawn - set(billed), key=str))


def _check_leftovers(found: Audit, ledger: Ledger) -> None:
    with ledger.read() as connection:
        rows = connection.scalar(select(func.count()).select_from(artifacts)) or 0
    if rows:
        found.breaches.append(f"{rows} artifact rows are left")
    folder = ledger.artifact_folder
    if folder is not None and folder.is_dir():
        found.check_empty("artifact files are left", [path.name for path in folder.iterdir()])


def _check_calls(found: Audit, ledger: Ledger, calls_log: Path) -> None:
    """The mock's own list of calls: one for each paid attempt, none for any other."""
    lines = calls_log.read_text().splitlines() if calls_log.exists() else []
    called = Counter(line.split("\t")[0] for line in lines)
    found.calls = len(lines)
    found.check_empty("attempts were paid twice", [a for a, number in called.items() if number > 1])
    with ledger.read() as connection:
        paid = connection.execute(
            select(attempts.c.id, attempts.c.job_id).where(attempts.c.cost_usd > 0)
        ).all()
    known = {str(row.id) for row in paid}
    found.check_empty("calls were paid for nothing", sorted(set(called) - known))
    found.check_empty("images were not paid for", sorted(known - set(called)))


def _check_redis(found: Audit, ledger: Ledger, redis_url: str) -> None:
    """Messages may be left only for jobs that have ended."""
    with ledger.read() as connection:
        unfinished = set(connection.scalars(select(jobs.c.id).where(~jobs.c.state.in_(_ENDED))))
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{KEY_PREFIX}*"):
            # The rate limiter keeps its calls in lists as well.
            if client.type(key) != b"list" or key.startswith(f"{KEY_PREFIX}limit".encode()):
                continue
            for message in client.lrange(key, 0, -1):
                found.stale_messages += 1
                task_id = json.loads(message)["headers"]["id"]
                if UUID(task_id) in unfinished:
                    found.breaches.append(f"job {task_id} still has a message in {key.decode()}")
        found.unacked = int(client.hlen(f"{KEY_PREFIX}unacked"))
