"""Indexes in which nothing stands that cannot be claimed, and two for what is rarely there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_jobs_claimable": (
        ["queue", "lane", "backend", "affinity", "id"],
        "state = 'queued' AND not_before IS NULL",
    ),
    "ix_jobs_claimable_batch": (
        ["batch_id", "queue", "lane", "backend", "affinity", "id"],
        "state = 'queued' AND not_before IS NULL AND batch_id IS NOT NULL",
    ),
    "ix_jobs_put_off": (
        ["queue", "lane", "backend", "not_before"],
        "state = 'queued' AND not_before IS NOT NULL",
    ),
    "ix_jobs_to_cancel": (["id"], "state = 'queued' AND cancel_requested_at IS NOT NULL"),
}


def upgrade() -> None:
    for name, (columns, where) in _INDEXES.items():
        _create(name, columns, where)
    # Last, so that the release before this one claims quickly until then.
    op.drop_index("ix_jobs_waiting", table_name="jobs", schema=_schema())


def downgrade() -> None:
    _create("ix_jobs_waiting", ["queue", "lane", "id"], "state = 'queued'")
    for name in _INDEXES:
        op.drop_index(name, table_name="jobs", schema=_schema())


def _create(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name,
        "jobs",
        columns,
        schema=_schema(),
        postgresql_where=condition,
        sqlite_where=condition,
    )


def _schema() -> str | None:
    schema: str | None = op.get_context().opts["imagen_schema"]
    return schema
