"""A ledger on each database, and a desk to work at it: what tests of ledger and services share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, event, select, text, update
from uuid_utils.compat import uuid7

from imagen.backends.mock.drawing import draw_request
from imagen.domain.cost import FREE, Cost
from imagen.domain.drawn import Drawn
from imagen.domain.job import Claim, Job, JobDraft, JobState, Output
from imagen.domain.request import ImageRequest
from imagen.ledger.jobs.artifacts import artifact_of
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.generated import Finish, record_generated
from imagen.ledger.jobs.leases import take_back
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.queries.jobs import attempts_of, get_job
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.indexes import whole_metadata
from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.tables import artifacts, jobs
from imagen.services.draw.draw import record_drawing
from tests.servers.redis_and_postgres import PostgresAddress
from tests.total_order import queries_with_ties

HOST = "here"
#: Children before their parents; what ``meta`` says of the ledger itself stays.
_EMPTIED = [table for table in reversed(whole_metadata.sorted_tables) if table.name != "meta"]


@pytest.fixture(scope="session")
def postgres_ledger(postgres_server: PostgresAddress) -> Iterator[Ledger]:
    """One PostgreSQL ledger for the whole run of this process; tests get it emptied."""
    url = postgres_server.create_database()
    ledger = open_ledger(url, default_path=Path("unused"), pool_size=20)
    upgrade(ledger)
    _refuse_ties(ledger)
    yield ledger
    ledger.close()
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_ledger(ledger_template: Path, tmp_path: Path) -> Iterator[Ledger]:
    path = tmp_path / "state" / "ledger.db"
    path.parent.mkdir()
    shutil.copy(ledger_template, path)
    ledger = open_ledger("", default_path=path)
    _refuse_ties(ledger)
    yield ledger
    ledger.close()


def _refuse_ties(ledger: Ledger) -> None:
    """Let no query pass whose order is not total: its rows would come in any order."""

    @event.listens_for(ledger.engine, "before_execute")
    def look(_connection: Any, statement: Any, *_: Any) -> None:
        found = queries_with_ties(statement)
        assert not found, f"an order with ties: {found}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """An empty ledger; whoever asks is run on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        found: Ledger = request.getfixturevalue("sqlite_ledger")
        return found
    found = request.getfixturevalue("postgres_ledger")
    _empty(found)
    return found


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """The desk at ``ledger``: on both databases."""
    return Desk(ledger)


@pytest.fixture
def sqlite_desk(sqlite_ledger: Ledger) -> Desk:
    """For rules that have nothing to do with the database."""
    return Desk(sqlite_ledger)


def _empty(ledger: Ledger) -> None:
    with ledger.write(durable=False) as connection:
        for table in _EMPTIED:
            connection.execute(delete(table))


@dataclass
class Desk:
    """Shortcuts to a ledger; the words are those of the product."""

    ledger: Ledger
    #: What ``submit`` writes to.
    folder: Path = field(default_factory=lambda: Path.cwd() / "out")
    _others: list[Ledger] = field(default_factory=list)

    def empty(self) -> None:
        _empty(self.ledger)

    def request(self, **changes: Any) -> ImageRequest:
        wanted = ImageRequest("a red fox", "a red fox", 64, 64, 7)
        return replace(wanted, **changes)

    def draft(self, **changes: Any) -> JobDraft:
        request = changes.pop("request", None) or self.request()
        usual = JobDraft(
            id=uuid7(),
            request=request,
            output=Output(str(self.folder), "fox.{ext}"),
            backend="mock",
            queue="gpu",
            caller="tests",
            delivery_host=HOST,
        )
        return replace(usual, **changes)

    def submit(self, **changes: Any) -> UUID:
        draft = self.draft(**changes)
        submit_job(self.ledger, draft)
        return draft.id

    def claimant(self, owner: str = "one", **changes: Any) -> Claimant:
        return replace(Claimant(owner, ["gpu"], 30.0), **changes)

    def claim(self, owner: str = "one", **changes: Any) -> Claim | None:
        return claim_job(self.ledger, self.claimant(owner, **changes))

    def must_claim(self, owner: str = "one", **changes: Any) -> Claim:
        claim = self.claim(owner, **changes)
        assert claim is not None, "there was nothing to claim"
        return claim

    def finish_of(self, claim: Claim, *, data: bytes | None = None, cost: Cost = FREE) -> Finish:
        data = draw_request(claim.job.request) if data is None else data
        drawn = Drawn(data, "landscape", claim.job.request.seed, 4, cost)
        return Finish(drawn, record_drawing(claim.job, drawn), artifact_of(claim, data), 12)

    def generate(self, claim: Claim, *, data: bytes | None = None) -> None:
        record_generated(self.ledger, claim, self.finish_of(claim, data=data), durable=False)

    def generated(self, **changes: Any) -> UUID:
        """A job whose image waits for delivery."""
        job_id = self.submit(**changes)
        claim = self.must_claim(queues=[changes.get("queue", "gpu")])
        assert claim.job.id == job_id, "another job was waiting"
        self.generate(claim)
        return job_id

    def job(self, job_id: UUID) -> Job:
        job = get_job(self.ledger, job_id)
        assert job is not None
        return job

    def state(self, job_id: UUID) -> JobState:
        return self.job(job_id).state

    def attempts(self, job_id: UUID) -> list[Any]:
        return attempts_of(self.ledger, job_id)

    def row(self, job_id: UUID) -> Any:
        with self.ledger.read() as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()

    def set(self, job_id: UUID, **values: Any) -> None:
        """Write columns behind the program's back."""
        with self.ledger.write() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))

    def expire(self, job_id: UUID) -> None:
        """Its holder has not been heard of for an hour."""
        self.shift(job_id, "lease_expires_at", -3600)

    def shift(self, job_id: UUID, column: str, seconds: float) -> None:
        """Move a time of the row."""
        before: datetime | None = getattr(self.row(job_id), column)
        assert before is not None, f"{column} is not set"
        from datetime import timedelta

        self.set(job_id, **{column: before + timedelta(seconds=seconds)})

    def crash(self, claim: Claim, *, max_crashes: int = 5) -> None:
        """The claim's process died, and somebody noticed."""
        self.expire(claim.job.id)
        assert take_back(self.ledger, max_crashes=max_crashes) == 1

    def job_claim(self, job_id: UUID) -> Claim:
        """The claim that holds a job now, made up from its row."""
        job = self.job(job_id)
        assert job.lease_owner is not None
        return Claim(job, self.attempts(job_id)[-1], job.lease_owner)

    def snapshot(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, and every artifact file."""
        with self.ledger.read() as connection:
            rows = {
                table.name: sorted(
                    (tuple(row) for row in connection.execute(select(table))), key=repr
                )
                for table in whole_metadata.sorted_tables
            }
        rows["files"] = [(name,) for name in self.artifact_files()]
        return rows

    def artifact_files(self) -> list[str]:
        folder = self.ledger.artifact_folder
        if folder is None or not folder.exists():
            return []
        return sorted(path.name for path in folder.iterdir())

    def artifact_rows(self) -> list[Any]:
        with self.ledger.read() as connection:
            return list(connection.execute(select(artifacts)))

    def sql(self, statement: str) -> None:
        with self.ledger.write() as connection:
            connection.execute(text(statement))


@pytest.fixture
def kept_as_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite ledger keeps each image as a file, however small."""
    monkeypatch.setattr("imagen.ledger.jobs.artifacts.SMALL_BYTES", -1)


@pytest.fixture
def another_process(request: pytest.FixtureRequest) -> Callable[[Ledger], Ledger]:
    """A function that opens the same database once more, as another process would."""

    def reopen(ledger: Ledger) -> Ledger:
        url = ledger.engine.url.render_as_string(hide_password=False)
        other = open_ledger(url, default_path=Path("unused"), pool_size=20)
        request.addfinalizer(other.close)
        return other

    return reopen
