"""When a job's worker last died, and since when the job runs alone for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from imagen.ledger.store.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ALONE = "state = 'queued' AND alone_since IS NOT NULL"
_NEW = {"crashed_at": UtcDateTime, "crash_fence": sa.Integer, "alone_since": UtcDateTime}


def upgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    for name, kind in _NEW.items():
        op.add_column("jobs", sa.Column(name, kind), schema=schema)
    op.create_index(
        "ix_jobs_alone",
        "jobs",
        ["queue"],
        schema=schema,
        postgresql_where=sa.text(_ALONE),
        sqlite_where=sa.text(_ALONE),
    )


def downgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    op.drop_index("ix_jobs_alone", "jobs", schema=schema)
    for name in _NEW:
        op.drop_column("jobs", name, schema=schema)
