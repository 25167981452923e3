"""An office: what draws, delivers and sends for one host, and a Supabase that does as told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from uuid_utils.compat import uuid7

from imagen.backends.mock.drawing import draw_request
from imagen.cloud.rest import RestClient
from imagen.cloud.settings import read_settings
from imagen.cloud.storage import Storage
from imagen.domain.cost import Cost
from imagen.domain.drawn import Drawn
from imagen.domain.job import Job, JobDraft, Output
from imagen.domain.request import ImageRequest
from imagen.ledger.jobs.artifacts import artifact_of
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.generated import Finish, record_generated
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.outbox import supabase_rows
from imagen.ledger.outbox.backlog import Backlog, backlog
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK, imagen_usage, images, outbox
from imagen.ledger.store.tables import jobs
from imagen.ledger.store.types import now_plus
from imagen.local.local_publisher import LocalPublisher
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.draw import record_drawing
from imagen.services.leases.clock import SystemClock
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.sync.image_upload import ImageUploads, image_rows_over
from imagen.services.sync.send import OutboxSender, SendReport
from imagen.services.sync.usage_upload import RemoteUsageTable
from tests.fakes.supabase import FakeSupabase

OWNER = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
LEASE_S = 30.0


@dataclass
class Office:
    """Draws, delivers and sends, as processes of one host would, each by its owner's name."""

    ledger: Ledger
    fake: FakeSupabase
    folder: Path
    #: The images table is in the ledger's own database.
    is_same_project: bool = False
    #: How long storage may be silent.
    patience_s: float = 5.0
    clock: Any = field(default_factory=SystemClock)

    def draw(self, prompt: str = "a red fox", **changes: Any) -> UUID:
        """A job whose image waits for delivery; it cost 0.003 dollars."""
        request = ImageRequest(prompt, prompt, 64, 64, 7)
        details = changes.pop("details", {})
        facts = {"owner_user_id": OWNER, "sync": "auto", **changes}
        job_id = uuid7()
        submit_job(
            self.ledger,
            JobDraft(
                id=job_id,
                request=request,
                output=Output(str(self.folder), "fox.{ext}"),
                backend="paid",
                queue="cloud",
                caller="tests",
                delivery_host="here",
                **facts,
            ),
        )
        claim = claim_job(self.ledger, Claimant("drawer", ["cloud"], LEASE_S))
        assert claim is not None
        cost = Cost(Decimal("0.003"), "list")
        drawn = Drawn(draw_request(request), "flux", 7, 4, cost, details=details)
        record = record_drawing(claim.job, drawn)
        finish = Finish(drawn, record, artifact_of(claim, drawn.data), 1234)
        record_generated(self.ledger, claim, finish, durable=False)
        return job_id

    def deliver(self, owner: str = "one") -> list[ClaimOutcome]:
        """One drain of a process that has Supabase configured."""
        heartbeat = Heartbeat(self.ledger, owner, LEASE_S, LEASE_S / 3, self.clock)
        delivery = DeliveryService(
            self.ledger,
            heartbeat,
            LocalPublisher(),
            self.clock,
            sends_usage=self.ledger.kind == "sqlite",
            has_cloud=True,
        )
        return delivery.deliver_next(Claimant(owner, [], LEASE_S), host="here")

    def send(self, owner: str = "one", *, env: dict[str, str] | None = None) -> SendReport:
        """Everything in the outbox, now."""
        settings = read_settings(env or self.fake.env)
        assert settings is not None
        rest = RestClient(settings, read_timeout_s=self.patience_s)
        storage = Storage(settings, read_timeout_s=self.patience_s)
        direct = partial(supabase_rows.put_image, self.ledger)
        put_row = direct if self.is_same_project else image_rows_over(rest)
        sinks = {
            USAGE_SINK: RemoteUsageTable(rest),
            CLOUD_SINK: ImageUploads(self.ledger, storage, put_row),
        }
        report = OutboxSender(self.ledger, owner, sinks).drain(now=True)
        rest.close()
        storage.close()
        return report

    def die(self) -> None:
        """Whoever held something has not been heard of for long."""
        with self.ledger.write() as connection:
            for table in (jobs, outbox):
                connection.execute(
                    update(table)
                    .where(table.c.lease_owner.is_not(None))
                    .values(lease_expires_at=now_plus(-3600))
                )

    def job(self, job_id: UUID) -> Job:
        job = get_job(self.ledger, job_id)
        assert job is not None
        return job

    def waiting(self) -> list[Backlog]:
        return backlog(self.ledger)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    def count(self, table: Any) -> int:
        with self.ledger.read() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def usage_rows(self) -> int:
        """Where this ledger's usage goes."""
        if self.ledger.kind == "postgresql":
            return self.count(imagen_usage)
        return len(self.fake.rows("mai", "imagen_usage"))

    def image_rows(self) -> int:
        if self.is_same_project:
            return self.count(images)
        return len(self.fake.rows("imagen", "images"))

    def has_one_of_each(self) -> bool:
        return (
            self.files() == ["fox.png", "fox.png.json"]
            and self.usage_rows() == 1
            and len(self.fake.objects()) == 1
            and self.image_rows() == 1
        )


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as running:
        yield running


@pytest.fixture
def office(ledger_template: Path, fake: FakeSupabase, tmp_path: Path) -> Iterator[Office]:
    """A SQLite ledger: usage and images go over REST."""
    path = tmp_path / "state" / "ledger.db"
    path.parent.mkdir()
    shutil.copy(ledger_template, path)
    ledger = open_ledger("", default_path=path)
    yield Office(ledger, fake, tmp_path / "out")
    ledger.close()


@pytest.fixture
def postgres_office(postgres_url: str, fake: FakeSupabase, tmp_path: Path) -> Iterator[Office]:
    """A PostgreSQL ledger in the project itself: rows are written directly."""
    ledger = open_ledger(postgres_url, default_path=Path("unused"))
    upgrade(ledger)
    yield Office(ledger, fake, tmp_path / "out", is_same_project=True)
    ledger.close()


@pytest.fixture
def make_office(fake: FakeSupabase, tmp_path: Path) -> Callable[..., Office]:
    """An office at another ledger."""

    def make(ledger: Ledger, **changes: Any) -> Office:
        return Office(ledger, fake, tmp_path / "out", **changes)

    return make
