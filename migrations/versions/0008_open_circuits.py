"""Which backends a worker cannot reach, in its row of the workers table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    op.add_column("workers", sa.Column("open_circuits", JSON_DOCUMENT), schema=schema)


def downgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    with op.batch_alter_table("workers", schema=schema) as table:
        table.drop_column("open_circuits")
