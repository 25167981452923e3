"""Tables that are sent elsewhere: usage rows, images for their owners, and the outbox.

``mai.imagen_usage`` and ``imagen.images`` are read by other programs too and may exist before the
ledger: migrations adopt them. The ``tags`` column of images is written by others; see indexes.py.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from imagen.ledger.store.tables import USAGE_SCHEMA, jobs, metadata
from imagen.ledger.store.types import JsonDocument, UtcDateTime

#: Holds the prompt's hash, never the prompt: a reader who has the prompt can compare.
imagen_usage = Table(
    "imagen_usage",
    metadata,
    Column(
        "id",
        BigInteger().with_variant(Integer(), "sqlite"),
        Identity(always=False),
        primary_key=True,
    ),
    Column("created_at", UtcDateTime, nullable=False),
    Column("backend", Text, nullable=False),
    Column("model", Text),
    Column("seed", BigInteger),
    Column("prompt_hash", Text, nullable=False),
    Column("latency_ms", Integer),
    # NULL is unknown, which is not 0.
    Column("cost_usd_estimate", Numeric(12, 6)),
    Column("caller", Text, nullable=False),
    Column("attempt_id", Uuid),
    schema=USAGE_SCHEMA,
)
Index("ix_imagen_usage_created_at", imagen_usage.c.created_at.desc())
Index("uq_imagen_usage_attempt_id", imagen_usage.c.attempt_id, unique=True)
Index("ix_imagen_usage_caller", imagen_usage.c.caller)

images = Table(
    "images",
    metadata,
    # The job's id: an insert that is sent twice is the same row.
    Column("id", Uuid, primary_key=True),
    Column("owner_user_id", Uuid, nullable=False),
    Column("job_id", Uuid),
    Column("storage_path", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("prompt_hash", Text),
    Column("backend", Text),
    Column("model", Text),
    Column("seed", BigInteger),
    Column("steps", Integer),
    Column("width", Integer),
    Column("height", Integer),
    Column("latency_ms", Integer),
    Column("cost_usd_estimate", Numeric(12, 6)),
    Column("sidecar", JsonDocument),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("uq_images_job_id", images.c.job_id, unique=True)
Index("ix_images_owner_created", images.c.owner_user_id, images.c.created_at.desc())

#: The values of ``outbox.sink``.
USAGE_SINK = "usage"
CLOUD_SINK = "cloud"

outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job_id", Uuid, ForeignKey(jobs.c.id), nullable=False),
    Column("attempt_id", Uuid, nullable=False),
    # usage or cloud
    Column("sink", String(20), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("not_before", UtcDateTime),
    Column("lease_owner", Text),
    Column("lease_expires_at", UtcDateTime),
    Column("last_error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
    UniqueConstraint("attempt_id", "sink"),
)
Index("ix_outbox_job", outbox.c.job_id)
