"""Usage from the ledger and from a table elsewhere: each attempt once, in rows and in sums."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from imagen.domain.usage import UsageSum
from imagen.errors import RequestError
from imagen.services.report.usage_report import UsageReader, parse_grouping
from tests.usage_row import usage_row


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("week,backend,model,caller", ("week", "backend", "model", "caller")),
        ("caller, Week", ("week", "caller")),
        ("", ()),
    ],
)
def test_groups_come_in_the_order_of_the_columns(text: str, groups: tuple[str, ...]) -> None:
    assert parse_grouping(text) == groups


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(RequestError, match="'day'"):
        parse_grouping("day")


class Elsewhere:
    """A usage table that holds these attempts."""

    def __init__(self, *attempt_ids: UUID | None) -> None:
        self.attempt_ids = attempt_ids

    def read(self, *, since: Any, until: Any) -> Any:
        return iter(usage_row(attempt_id=each, caller="there") for each in self.attempt_ids)


def test_rows_on_their_way_are_added_and_none_comes_twice(sqlite_desk: Any) -> None:
    from imagen.ledger.jobs.delivery import claim_deliveries
    from imagen.ledger.queries.usage_rows import record_usage

    attempts = []
    for _ in range(3):
        sqlite_desk.generated()
        [claim] = claim_deliveries(sqlite_desk.ledger, sqlite_desk.claimant(), host="here")
        record_usage(sqlite_desk.ledger, [claim], also_send=True)
        attempts.append(claim.attempt.id)
    foreign = uuid4()
    # One arrived, and its sender ended before it could record that.
    table = Elsewhere(foreign, attempts[1], None)

    reader = UsageReader(sqlite_desk.ledger, table)
    rows = list(reader.rows())

    assert [each.attempt_id for each in rows] == [
        *(foreign, attempts[1], None),
        *(attempts[0], attempts[2]),
    ]
    # `imagen sync` would send all three: the ledger does not know that one arrived.
    assert reader.unsent == 3
    assert reader.report(by=("caller",)).groups == [
        UsageSum(("tests",), 2, Decimal(0), 0, 12),
        UsageSum(("there",), 3, Decimal("0.3"), 0, 100),
    ]
