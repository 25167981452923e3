"""The ledger: jobs, attempts, batches, artifacts, workers, pauses, locks, meta."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    prefix = f"{schema}." if schema else ""
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("runs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("key", name=op.f("uq_batches_key")),
        schema=schema,
    )
    op.create_table(
        "locks",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locks")),
        schema=schema,
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=50), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
        schema=schema,
    )
    op.create_table(
        "pauses",
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=50), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("backend", name=op.f("pk_pauses")),
        schema=schema,
    )
    op.create_table(
        "workers",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("queues", JSON_DOCUMENT, nullable=False),
        sa.Column("backends", JSON_DOCUMENT, nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_workers")),
        schema=schema,
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("run", sa.Integer(), server_default="0", nullable=False),
        sa.Column("queue", sa.String(length=100), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("affinity", sa.Text(), nullable=True),
        sa.Column("passed_over", sa.Integer(), server_default="0", nullable=False),
        sa.Column("passed_over_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request", JSON_DOCUMENT, nullable=False),
        sa.Column("output", JSON_DOCUMENT, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("limited_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("attempt_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tried_before", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivery_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivery_host", sa.Text(), nullable=False),
        sa.Column("output_path", sa.Text(), nullable=True),
        sa.Column("file_sha256", sa.String(length=64), nullable=True),
        sa.Column("error_code", sa.String(length=50), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("owner_user_id", sa.Text(), server_default="", nullable=False),
        sa.Column("sync", sa.String(length=10), server_default="", nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'running' OR lease_owner IS NOT NULL", name=op.f("ck_jobs_running_is_leased")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'generated', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], [f"{prefix}batches.id"], name=op.f("fk_jobs_batch_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_jobs_dedupe_key")),
        schema=schema,
    )
    op.create_index(
        "ix_jobs_batch_state", "jobs", ["batch_id", "state"], unique=False, schema=schema
    )
    op.create_index(
        "ix_jobs_generated",
        "jobs",
        ["delivery_host", "id"],
        unique=False,
        schema=schema,
        postgresql_where=sa.text("state = 'generated'"),
        sqlite_where=sa.text("state = 'generated'"),
    )
    op.create_index(
        "ix_jobs_leased",
        "jobs",
        ["lease_owner"],
        unique=False,
        schema=schema,
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
        sqlite_where=sa.text("lease_owner IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["queue", "lane", "id"],
        unique=False,
        schema=schema,
        postgresql_where=sa.text("state = 'queued'"),
        sqlite_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "artifacts",
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], [f"{prefix}jobs.id"], name=op.f("fk_artifacts_job_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_artifacts")),
        schema=schema,
    )
    op.create_index(
        op.f("ix_artifacts_job_id"), "artifacts", ["job_id"], unique=False, schema=schema
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("place", sa.Text(), server_default="", nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=12, scale=6), nullable=True),
        sa.Column("cost_source", sa.Text(), nullable=True),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("details", JSON_DOCUMENT, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], [f"{prefix}jobs.id"], name=op.f("fk_attempts_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_attempts_job_id")),
        schema=schema,
    )
    op.create_index(
        "ix_attempts_backend_finished",
        "attempts",
        ["backend", "finished_at"],
        unique=False,
        schema=schema,
    )
    op.create_index(
        "uq_attempts_external",
        "attempts",
        ["place", "external_id"],
        unique=True,
        schema=schema,
        postgresql_where=sa.text("external_id IS NOT NULL"),
        sqlite_where=sa.text("external_id IS NOT NULL"),
    )

    if schema:
        # The database's own: printed as SQL, one and the same text may make several ledgers.
        op.execute(
            "INSERT INTO imagen.meta (key, value) VALUES ('ledger_id', gen_random_uuid()::text)"
        )
        # Image bytes are compressed already: keep them out of line, without trying again.
        op.execute(f"ALTER TABLE {prefix}artifacts ALTER COLUMN data SET STORAGE EXTERNAL")
        return
    meta = sa.table("meta", sa.column("key"), sa.column("value"))
    op.bulk_insert(meta, [{"key": "ledger_id", "value": str(uuid4())}])


def downgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    op.drop_table("attempts", schema=schema)
    op.drop_table("artifacts", schema=schema)
    op.drop_table("jobs", schema=schema)
    op.drop_table("workers", schema=schema)
    op.drop_table("pauses", schema=schema)
    op.drop_table("meta", schema=schema)
    op.drop_table("locks", schema=schema)
    op.drop_table("batches", schema=schema)
