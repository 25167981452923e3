"""How long a drawing of the same kind took lately."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import null, update

from imagen.domain.drawn import Work
from imagen.ledger.jobs.generated import record_generated
from imagen.ledger.queries.history import AttemptHistory
from imagen.ledger.store.tables import attempts

SMALL = Work("landscape", 4, 64, 64)


def draw(desk: Any, *, seconds: float, width: int = 64) -> None:
    desk.submit(request=desk.request(width=width, height=64))
    claim = desk.must_claim()
    finish = replace(desk.finish_of(claim), latency_ms=round(seconds * 1000))
    record_generated(desk.ledger, claim, finish, durable=False)


def test_only_work_of_the_same_kind_tells_how_long_it_will_take(desk: Any) -> None:
    history = AttemptHistory(desk.ledger)
    for seconds in (1.0, 1.2, 1.4):
        draw(desk, seconds=seconds)
    for _ in range(5):
        draw(desk, seconds=60.0, width=128)

    assert history.expected_s("mock", SMALL) == 1.2
    assert history.expected_s("mock", replace(SMALL, width=128)) == 60.0
    assert history.expected_s("mock", replace(SMALL, steps=50)) is None
    assert history.expected_s("mock", replace(SMALL, model="other")) is None
    assert history.expected_s("other", SMALL) is None


def test_an_attempt_of_an_older_version_tells_of_no_kind(desk: Any) -> None:
    draw(desk, seconds=1.0)
    with desk.ledger.write() as connection:
        connection.execute(update(attempts).values(record=null()))

    assert AttemptHistory(desk.ledger).expected_s("mock", SMALL) is None
