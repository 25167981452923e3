"""What the fake Supabase knows: buckets, tables, keys, rights, and every request so far."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.http import RecordedRequest
from tests.fakes.supabase.keyring import Keyring
from tests.fakes.supabase.tables import Table, new_tables


@dataclass(slots=True)
class Stored:
    """One object. ``tag`` is its ETag, md5 unless a test says otherwise."""

    data: bytes
    content_type: str
    tag: str = ""

    def __post_init__(self) -> None:
        self.tag = self.tag or hashlib.md5(self.data, usedforsecurity=False).hexdigest()


@dataclass
class FakeBucket:
    """One bucket: its settings, and its objects by key."""

    public: bool = False
    file_size_limit: int | None = None
    allowed_mime_types: list[str] | None = None
    objects: dict[str, Stored] = field(default_factory=dict)


@dataclass
class ProjectStore:
    """One project. Tests change it as an administrator would; hold ``lock`` for more than a look.

    Attributes:
        exposed: the schemas that REST serves.
        ungranted: schemas (``("mai", "")``) and tables that service_role has no rights on.
        closed: tables that row-level security closes to all; ``("storage", "objects")`` too.
        max_rows: what REST cuts every answer to.
        max_body_bytes: what REST and the gateway take in one request.
        upload_limit_bytes: the project's limit for one object.
        postgrest: the major version whose spellings are used, 12 or 14.
        sends_codes: Storage's errors have a ``code``; older servers' do not.
    """

    keyring: Keyring
    buckets: dict[str, FakeBucket] = field(default_factory=dict)
    tables: dict[tuple[str, str], Table] = field(default_factory=new_tables)
    exposed: list[str] = field(default_factory=lambda: ["public", "mai", "imagen"])
    ungranted: set[tuple[str, str]] = field(default_factory=set)
    closed: set[tuple[str, str]] = field(default_factory=set)
    max_rows: int = 1000
    max_body_bytes: int = 16 * 1024 * 1024
    upload_limit_bytes: int = 50 * 1024 * 1024
    postgrest: int = 12
    sends_codes: bool = True
    slow_s: float = 1.0
    calls: list[RecordedRequest] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def stats(self) -> dict[str, Any]:
        """Counts, for other processes."""
        with self.lock:
            return {
                "calls": len(self.calls),
                "objects": {name: len(bucket.objects) for name, bucket in self.buckets.items()},
                "bytes": {
                    name: sum(len(stored.data) for stored in bucket.objects.values())
                    for name, bucket in self.buckets.items()
                },
                "rows": {
                    f"{schema}.{name}": len(table.rows)
                    for (schema, name), table in self.tables.items()
                },
            }
