"""Times and documents mean the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Float, bindparam, literal, select
from sqlalchemy.exc import StatementError

from imagen.ledger.store.types import UtcDateTime, now_plus, seconds_since

# One connection to a database for many examples, which read and change nothing of it.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


def ask(desk: Any, expression: Any, **values: Any) -> Any:
    with desk.ledger.read() as connection:
        return connection.scalar(select(expression), values)


def test_the_databases_clock_is_in_utc_and_right(desk: Any) -> None:
    now = ask(desk, now_plus())

    assert now.tzinfo is not None
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)


@shared
@given(seconds=st.floats(-1e8, 1e8) | st.sampled_from([0.0, 1e-9, -1e-9, 0.5, 30.0, 1e-5]))
def test_any_number_of_seconds_may_be_added(desk: Any, seconds: float) -> None:
    # Milliseconds are what SQLite keeps.
    before = ask(desk, now_plus())

    later = ask(desk, now_plus(seconds))

    assert abs((later - before).total_seconds() - seconds) < 60


def test_seconds_may_be_a_parameter(desk: Any) -> None:
    later = ask(desk, now_plus(bindparam("s", type_=Float)), s=3600.0)

    assert later - datetime.now(UTC) > timedelta(minutes=50)


def test_the_age_of_nothing_is_nothing(desk: Any) -> None:
    assert ask(desk, seconds_since(literal(None, UtcDateTime()))) is None


def test_the_age_of_a_time_is_in_seconds_and_negative_before_it(desk: Any) -> None:
    assert 3599 < ask(desk, seconds_since(now_plus(-3600))) < 3660
    assert -3601 < ask(desk, seconds_since(now_plus(3600))) < -3540


@pytest.mark.parametrize("hours", [-11, 0, 5.5])
def test_a_time_of_any_zone_comes_back_as_the_same_moment(desk: Any, hours: float) -> None:
    job_id = desk.submit()
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, timezone(timedelta(hours=hours)))

    desk.set(job_id, not_before=moment)

    found = desk.row(job_id).not_before
    assert found == moment
    assert found.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(desk: Any) -> None:
    job_id = desk.submit()

    with pytest.raises(StatementError, match="naive time"):
        desk.set(job_id, not_before=datetime(2026, 1, 1))  # noqa: DTZ001


def test_times_compare_as_times(desk: Any) -> None:
    moments = [
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    ]
    ids = [desk.submit() for _ in moments]
    for job_id, moment in zip(ids, moments, strict=True):
        desk.set(job_id, not_before=moment)

    found = [desk.row(job_id).not_before for job_id in ids]
    assert found == sorted(found) == moments
    from imagen.ledger.store.tables import jobs

    with desk.ledger.read() as connection:
        ordered = list(connection.scalars(select(jobs.c.id).order_by(jobs.c.not_before, jobs.c.id)))
    assert ordered == ids


@shared
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9),
        max_size=3,
    )
)
def test_any_document_comes_back_as_it_was(desk: Any, options: dict[str, str]) -> None:
    job_id = desk.submit(request=desk.request(options=options))

    assert desk.job(job_id).request.options == options
