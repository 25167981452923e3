"""What was asked for, with the job; what was asked for and drawn, with the attempt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from imagen.ledger.store.types import JsonDocument

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NEW = {"jobs": "requested", "attempts": "record"}


def upgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    for table, column in _NEW.items():
        op.add_column(table, sa.Column(column, JsonDocument), schema=schema)


def downgrade() -> None:
    schema = op.get_context().opts["imagen_schema"]
    for table, column in _NEW.items():
        op.drop_column(table, column, schema=schema)
