"""An index of waiting jobs by delivery host: those of a full host are skipped, not read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NAME = "ix_jobs_claimable_host"


def upgrade() -> None:
    condition = sa.text("state = 'queued' AND not_before IS NULL")
    op.create_index(
        _NAME,
        "jobs",
        ["queue", "lane", "backend", "delivery_host", "affinity", "id"],
        schema=_schema(),
        postgresql_where=condition,
        sqlite_where=condition,
    )


def downgrade() -> None:
    op.drop_index(_NAME, table_name="jobs", schema=_schema())


def _schema() -> str | None:
    schema: str | None = op.get_context().opts["imagen_schema"]
    return schema
