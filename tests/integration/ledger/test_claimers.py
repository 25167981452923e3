"""Many claimers at once, in threads and in processes: every job is somebody's, and only theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update
from uuid_utils.compat import uuid7

from imagen.domain.job import JobDraft, JobState, Output
from imagen.domain.request import ImageRequest
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.delivery import (
    Delivered,
    claim_deliveries,
    record_succeeded,
    record_targets,
)
from imagen.ledger.jobs.leases import renew_leases, take_back
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus

CLAIM_ALL = """
import sys
from pathlib import Path
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.store.open_ledger import open_ledger
ledger = open_ledger(sys.argv[1], default_path=Path("unused"))
me = Claimant(sys.argv[2], ["gpu"], 30.0)
print("ready", flush=True)
sys.stdin.readline()
while (claim := claim_job(ledger, me)) is not None:
    print(claim.job.id, claim.job.fence, flush=True)
ledger.close()
"""

DEADLINE_S = 120


def submit(ledger: Ledger, number: int) -> list[UUID]:
    request = ImageRequest("a red fox", "a red fox", 64, 64, 7)
    draft = JobDraft(
        id=uuid7(),
        request=request,
        output=Output("/tmp", "fox.{ext}"),
        backend="mock",
        queue="gpu",
        caller="tests",
        delivery_host="here",
    )
    ids = [uuid7() for _ in range(number)]
    for job_id in ids:
        submit_job(ledger, replace(draft, id=job_id))
    return ids


def test_eight_threads_claim_two_hundred_jobs_once_each(ledger: Ledger) -> None:
    ids = submit(ledger, 200)
    claimed: list[UUID] = []
    together = threading.Barrier(8)

    def claim_all(owner: str) -> None:
        together.wait(DEADLINE_S)
        me = Claimant(owner, ["gpu"], 30.0)
        while (claim := claim_job(ledger, me)) is not None:
            assert claim.job.fence == 1
            claimed.append(claim.job.id)

    threads = [threading.Thread(target=claim_all, args=(f"thread {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert Counter(claimed) == Counter(ids)
    with ledger.read() as connection:
        opened = list(connection.scalars(select(attempts.c.job_id)))
    assert Counter(opened) == Counter(ids)


def test_eight_processes_claim_two_hundred_jobs_once_each(ledger: Ledger, address: str) -> None:
    ids = submit(ledger, 200)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, address, f"process {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    claimed: list[str] = []
    for process in processes:
        out, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        claimed += out.splitlines()

    assert Counter(claimed) == Counter(f"{job_id} 1" for job_id in ids)


def test_jobs_of_a_killed_process_are_claimed_again_with_a_higher_fence(
    ledger: Ledger, address: str
) -> None:
    ids = submit(ledger, 20)
    code = CLAIM_ALL.replace("while", "import itertools\nfor _ in range(5):\n    assert (").replace(
        "is not None:", "is not None)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code + "\nsys.stdin.read()", address, "doomed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    process.stdin.write("go\n")
    process.stdin.flush()
    doomed = [process.stdout.readline().split()[0] for _ in range(5)]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert take_back(ledger, max_crashes=5, dead=["doomed"]) == 5

    me = Claimant("survivor", ["gpu"], 30.0)
    fences: dict[str, int] = {}
    while (claim := claim_job(ledger, me)) is not None:
        fences[str(claim.job.id)] = claim.job.fence
    assert set(fences) == {str(job_id) for job_id in ids}
    assert {fences[job_id] for job_id in doomed} == {3}


def test_a_claimer_that_asks_while_another_holds_the_row_gets_the_next_one(
    ledger: Ledger,
) -> None:
    first, second = submit(ledger, 2)
    if ledger.kind == "sqlite":
        # SQLite has one writer at a time, so the second claim comes after the first.
        found = [claim_job(ledger, Claimant(owner, ["gpu"], 30.0)) for owner in ("one", "two")]
    else:
        with ledger.write() as connection:
            connection.execute(select(jobs.c.id).where(jobs.c.id == first).with_for_update())
            found = [claim_job(ledger, Claimant("two", ["gpu"], 30.0))]
        found.insert(0, claim_job(ledger, Claimant("one", ["gpu"], 30.0)))

    assert [claim.job.id if claim else None for claim in found] == [first, second]


def test_drains_renewals_and_take_backs_at_once_neither_lock_up_nor_fail(ledger: Ledger) -> None:
    """Statements over many rows in whatever order: none may wait for another for ever."""
    ids = submit(ledger, 150)
    with ledger.write() as connection:
        # Drawn by hand, so that only the delivery side is at work.
        for job_id in ids:
            attempt = uuid7()
            connection.execute(
                attempts.insert().values(
                    id=attempt,
                    job_id=job_id,
                    number=1,
                    backend="mock",
                    worker="w",
                    state="drawn",
                    created_at=now_plus(),
                    finished_at=now_plus(),
                )
            )
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(state="generated", attempt_id=attempt, attempt_count=1)
            )
    errors: list[BaseException] = []
    is_over = threading.Event()

    def guarded(work: object, *, until_over: bool) -> None:
        try:
            while callable(work):
                work()
                if not until_over or is_over.is_set():
                    return
        except BaseException as error:
            errors.append(error)

    def deliver(owner: str) -> None:
        me = Claimant(owner, [], 30.0)
        deadline_s = time.monotonic() + DEADLINE_S
        while has_some(ledger, JobState.GENERATED):
            assert time.monotonic() < deadline_s
            claims = claim_deliveries(ledger, me, host="here", limit=20)
            record_targets(ledger, [(claim, f"/tmp/{claim.job.id}.png") for claim in claims])
            record_succeeded(
                ledger,
                [
                    Delivered(claim, f"/tmp/{claim.job.id}.png", "0" * 64, "none")
                    for claim in reversed(claims)
                ],
            )

    owners = ["one", "two", "three"]
    deliverers = [
        threading.Thread(
            target=guarded, args=(lambda o=owner: deliver(o),), kwargs={"until_over": False}
        )
        for owner in owners
    ]
    others = [
        threading.Thread(
            target=guarded,
            args=(lambda o=owner: renew_leases(ledger, o, lease_s=30.0),),
            kwargs={"until_over": True},
        )
        for owner in owners
    ] + [
        threading.Thread(
            target=guarded,
            args=(lambda: take_back(ledger, max_crashes=5),),
            kwargs={"until_over": True},
        )
    ]
    for thread in [*deliverers, *others]:
        thread.start()
    for thread in deliverers:
        thread.join(DEADLINE_S)
    is_over.set()
    for thread in others:
        thread.join(DEADLINE_S)

    assert errors == []
    assert count_states(ledger, EVERYTHING) == {JobState.SUCCEEDED: 150}


def has_some(ledger: Ledger, state: JobState) -> bool:
    return count_states(ledger, EVERYTHING).get(state, 0) > 0


def owners_of(ledger: Ledger, ids: Sequence[UUID]) -> set[str | None]:
    with ledger.read() as connection:
        return set(connection.scalars(select(jobs.c.lease_owner).where(jobs.c.id.in_(ids))))


def test_a_wrong_clock_of_a_host_makes_no_lease_shorter_or_longer(
    ledger: Ledger, address: str, tmp_path: Path
) -> None:
    """On PostgreSQL the claiming process believes that it is 1970; SQLite has one host only."""
    ids = submit(ledger, 1)
    # Python's own clocks are replaced before anything is imported.
    liar = (
        "import time, datetime\n"
        "time.time = lambda: 0.0\n"
        "class Early(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return cls(1970, 1, 1, tzinfo=tz)\n"
        "    utcnow = now\n"
        "datetime.datetime = Early\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", liar + CLAIM_ALL, address, "liar"],
        input="go\n",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    assert take_back(ledger, max_crashes=5) == 0
    assert owners_of(ledger, ids) == {"liar"}
    other = open_ledger(address, default_path=tmp_path / "unused")
    assert claim_job(other, Claimant("two", ["gpu"], 30.0)) is None
    other.close()
