"""The beginnings of job ids that a table shows."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

#: Enough of a UUIDv7 to hold its whole time of 48 bits.
_SHORTEST_ID = 13
_WHOLE_ID = 36


def short_ids(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Each id's beginning, long enough to tell it from the others: all of the same length."""
    wanted = set(ids)
    length = _SHORTEST_ID
    while length < _WHOLE_ID and len({str(each)[:length] for each in wanted}) < len(wanted):
        length += 1
    # A hyphen at the end carries nothing: "0193a5b2-7c1d-" is cut before it.
    return {each: str(each)[:length].rstrip("-") for each in wanted}
