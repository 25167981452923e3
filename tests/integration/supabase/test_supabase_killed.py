"""A results worker killed at each step of a delivery leaves one of each all the same."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.outgoing_tables import outbox
from imagen.services.leases.clock import SystemClock
from tests.processes.kill_points import DELIVERY_STEPS
from tests.servers.redis_and_postgres import PostgresServer

#: What sending does after a delivery, in its order.
SENDING = [
    "imagen.services.sync.send.claim_outgoing",
    "imagen.services.sync.image_upload.make_image_copy",
    "imagen.cloud.storage.Storage.find_bucket",
    "imagen.cloud.storage.Storage._make_bucket",
    "imagen.cloud.storage.Storage._post_object",
    "imagen.services.sync.send.record_sent",
    "imagen.services.sync.send.drop_artifacts_of",
]
REST_ONLY = ["imagen.cloud.rest.RestClient.insert"]
DIRECT_ONLY = ["imagen.ledger.outbox.supabase_rows.put_image"]


class Killed(BaseException):
    """No handler of the program catches this, as none sees a SIGKILL."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool, turn: int = 1) -> None:
    """From the ``turn``-th call of ``step`` on the process is dead; it never gets further."""
    owner_name, _, attribute = step.rpartition(".")
    owner = _resolve(owner_name)
    real = getattr(owner, attribute)
    calls = 0

    def dying(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < turn:
            return real(*args, **options)
        if after:
            real(*args, **options)
        raise Killed

    monkeypatch.setattr(owner, attribute, dying)


def _resolve(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(import_module(module), attribute)


def work_until_killed(office: Any) -> bool:
    """What a results worker does; says whether it was killed."""
    try:
        office.deliver("killed")
        office.send("killed")
    except Killed:
        return True
    return False


def finish(office: Any) -> None:
    """Others come by, later."""
    office.die()
    for owner in ("two", "three"):
        office.deliver(owner)
        office.send(owner)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [*DELIVERY_STEPS, *SENDING, *REST_ONLY])
def test_a_worker_killed_at_any_step_leaves_one_of_each(
    office: Any, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    job_id = office.draw()
    with monkeypatch.context() as patch:
        die_at(patch, step, after=after)
        assert work_until_killed(office)

    finish(office)

    assert office.job(job_id).state is JobState.SUCCEEDED
    assert office.waiting() == []
    assert office.has_one_of_each()
    assert office.count(outbox) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_killed_at_the_second_row_leaves_one_of_each(
    office: Any, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    office.draw()
    with monkeypatch.context() as patch:
        die_at(patch, "imagen.cloud.rest.RestClient.insert", after=after, turn=2)
        assert work_until_killed(office)

    finish(office)

    assert office.has_one_of_each()


def test_a_worker_on_postgresql_killed_at_any_step_leaves_one_of_each(
    postgres_office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = postgres_office
    for step in [*DELIVERY_STEPS, *SENDING, *DIRECT_ONLY]:
        for after in (False, True):
            office.fake.world.buckets.clear()
            office.folder = office.folder.with_name(f"out-{step}-{after}")
            before = (office.usage_rows(), office.image_rows())
            job_id = office.draw()
            with monkeypatch.context() as patch:
                die_at(patch, step, after=after)
                assert work_until_killed(office), step

            finish(office)

            assert office.job(job_id).state is JobState.SUCCEEDED
            assert office.waiting() == [], step
            assert office.files() == ["fox.png", "fox.png.json"]
            assert len(office.fake.objects()) == 1
            assert (office.usage_rows(), office.image_rows()) == (before[0] + 1, before[1] + 1)
    assert office.fake.rows("imagen", "images") == []
    assert office.fake.rows("mai", "imagen_usage") == []


def test_the_database_down_between_file_and_commit_is_waited_for(
    own_postgres: PostgresServer, make_office: Callable[..., Any]
) -> None:
    class Restarting(SystemClock):
        """Whoever waits for the database sees it come back."""

        def sleep(self, seconds: float) -> None:
            if own_postgres.pid is None:
                own_postgres.start()
            super().sleep(min(seconds, 0.05))

    ledger = open_ledger(own_postgres.create_database(), default_path=Path("unused"))
    upgrade(ledger)
    office = make_office(ledger, is_same_project=True, clock=Restarting())
    job_id = office.draw()
    with pytest.MonkeyPatch.context() as patch:
        real = _resolve("imagen.services.deliver.file_writer").sync_folder

        def last_step_before_the_commit(folder: Path) -> None:
            real(folder)
            own_postgres.kill()

        patch.setattr(
            "imagen.services.deliver.file_writer.sync_folder", last_step_before_the_commit
        )
        [outcome] = office.deliver()

    office.send()

    assert outcome.state is JobState.SUCCEEDED
    assert office.job(job_id).state is JobState.SUCCEEDED
    assert office.has_one_of_each()
    ledger.close()
