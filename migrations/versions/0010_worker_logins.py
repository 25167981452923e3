"""Which PostgreSQL role reported a worker, so that policies let a host change its own rows alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    op.add_column("workers", sa.Column("login", sa.Text()), schema=schema)
    if schema:
        # The default of new rows alone: an older release that is still running names no login.
        op.execute(f"ALTER TABLE {schema}.workers ALTER COLUMN login SET DEFAULT current_user")


def downgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    op.drop_column("workers", "login", schema=schema)
