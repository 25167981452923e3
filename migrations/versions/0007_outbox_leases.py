"""An index for what every process asks each second: who is sending something from the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
#: Its SQL for PostgreSQL may be run again.
is_repeatable = True


def upgrade() -> None:
    leased = sa.text("lease_owner IS NOT NULL")
    op.create_index(
        "ix_outbox_leased",
        "outbox",
        ["lease_owner"],
        schema=_schema(),
        if_not_exists=True,
        postgresql_where=leased,
        sqlite_where=leased,
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_leased", table_name="outbox", schema=_schema())


def _schema() -> str | None:
    schema: str | None = op.get_context().opts["imagen_schema"]
    return schema
