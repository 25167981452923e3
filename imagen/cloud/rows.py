"""Rows as JSON that every PostgreSQL takes: no NUL, no half characters, no NaN."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

#: One column's value, or a row.
Row = Mapping[str, Any]

# PostgREST refuses NUL with 22P05 and half a surrogate pair with PGRST102. Rows quote what
# backends and files say, so a prompt that was cleaned at submission is not all there is.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def encode_row(row: Row) -> bytes:
    """A JSON array of the one row. Dates become ISO text, Decimals numbers, ids text.

    What cannot be stored is left out of a text, and is null as a number.
    """
    return json.dumps([_storable(row)], allow_nan=False).encode()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("", value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable(item) for item in value]
    if isinstance(value, Decimal | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value
