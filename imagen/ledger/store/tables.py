"""The tables of the ledger. Migrations make them; a test holds that both agree."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    true,
)

from imagen.ledger.store.types import JsonDocument, StateName, UtcDateTime

SCHEMA = "imagen"
#: The usage table is shared with other tools, so it is in the schema that they know.
USAGE_SCHEMA = "mai"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, primary_key=True),
    # A name, or the file's path and the output folder: what makes two runs the same batch.
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    # Counts the runs of `imagen batch`; each stamps the rows of the file as it is now.
    Column("runs", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("dedupe_key", String(200), unique=True),
    Column("batch_id", Uuid, ForeignKey(batches.c.id)),
    Column("position", Integer),
    Column("run", Integer, nullable=False, server_default="0"),
    Column("queue", String(100), nullable=False),
    # 0 interactive, 1 bulk: the smaller goes first.
    Column("lane", SmallInteger, nullable=False),
    Column("backend", Text, nullable=False),
    Column("affinity", Text),
    # How often a later row with the loaded model was preferred to this one.
    Column("passed_over", Integer, nullable=False, server_default="0"),
    Column("passed_over_since", UtcDateTime),
    Column("request", JsonDocument, nullable=False),
    Column("output", JsonDocument, nullable=False),
    Column("state", StateName, nullable=False),
    Column("phase", String(20), nullable=False),
    Column("not_before", UtcDateTime),
    # When this job was first put off by its backend or a full disk; patience counts from here.
    Column("limited_since", UtcDateTime),
    Column("lease_owner", Text),
    Column("lease_expires_at", UtcDateTime),
    Column("fence", Integer, nullable=False, server_default="0"),
    # The attempt that is under way, or the one that drew the image.
    Column("attempt_id", Uuid),
    Column("attempt_count", Integer, nullable=False, server_default="0"),
    # Attempts made before the last `imagen jobs retry`: they do not count against the limit.
    Column("tried_before", Integer, nullable=False, server_default="0"),
    Column("crash_count", Integer, nullable=False, server_default="0"),
    # When it last crashed without an excuse, and the fence that its last crash set, by which a
    # holder that is alive takes the crash back.
    Column("crashed_at", UtcDateTime),
    Column("crash_fence", Integer),
    # Set for a job that may kill its workers: it runs alone in its process.
    Column("alone_since", UtcDateTime),
    Column("delivery_count", Integer, nullable=False, server_default="0"),
    Column("cancel_requested_at", UtcDateTime),
    Column("delivery_host", Text, nullable=False),
    Column("output_path", Text),
    Column("file_sha256", String(64)),
    Column("error_code", String(50)),
    Column("error_message", Text),
    Column("owner_user_id", Text, nullable=False, server_default=""),
    Column("sync", String(10), nullable=False, server_default=""),
    # The request before the backend fitted it, and the warnings at submission.
    Column("requested", JsonDocument),
    Column("caller", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    CheckConstraint(
        "state IN ('queued', 'running', 'generated', 'succeeded', 'failed', 'canceled')",
        name="state",
    ),
    CheckConstraint("state <> 'running' OR lease_owner IS NOT NULL", name="running_is_leased"),
    # The partial indexes are in imagen.ledger.store.indexes.
    Index("ix_jobs_batch_state", "batch_id", "state"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job_id", Uuid, ForeignKey(jobs.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("backend", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("state", StateName, nullable=False),
    Column("external_id", Text),
    Column("place", Text, nullable=False, server_default=""),
    Column("error_code", String(50)),
    Column("error_message", Text),
    Column("model", Text),
    Column("seed", BigInteger),
    Column("steps", Integer),
    Column("cost_usd", Numeric(12, 6)),
    Column("cost_source", Text),
    Column("latency_ms", Integer),
    Column("details", JsonDocument),
    # The request and the drawing that came of it: see imagen.domain.drawing_record.
    Column("record", JsonDocument),
    # Whether it goes into the usage table: every backend but a mock.
    Column("is_metered", Boolean, nullable=False, server_default=true()),
    Column("created_at", UtcDateTime, nullable=False),
    Column("intended_at", UtcDateTime),
    Column("submitted_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("job_id", "number"),
    Index("ix_attempts_backend_finished", "backend", "finished_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    # attempt id and fence: a worker that lost its lease can never write over its successor's bytes.
    Column("key", String(100), primary_key=True),
    Column("job_id", Uuid, ForeignKey(jobs.c.id), nullable=False, index=True),
    Column("size_bytes", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    # NULL where the bytes are a file beside the database: large ones of a SQLite ledger.
    Column("data", LargeBinary),
    Column("created_at", UtcDateTime, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("queues", JsonDocument, nullable=False),
    Column("backends", JsonDocument, nullable=False),
    Column("model", Text),
    # The folders that a results worker may write to; NULL for every other worker.
    Column("allowed_dirs", JsonDocument),
    # The backends that it cannot reach: [{backend, since, why}]. NULL: none.
    Column("open_circuits", JsonDocument),
    # The role of PostgreSQL that reported it, which it writes by itself. NULL on SQLite.
    Column("login", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("backend", Text, primary_key=True),
    # NULL: until `imagen backends resume`.
    Column("until", UtcDateTime),
    Column("reason", Text, nullable=False),
    # The code of the error that paused it; NULL for a pause by hand.
    Column("code", String(50)),
    Column("created_at", UtcDateTime, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(50), primary_key=True),
    Column("value", Text, nullable=False),
)
