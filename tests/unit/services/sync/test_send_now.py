"""Sending everything now, waiting for the first upload, and what is left afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.delivery import Delivered, claim_deliveries, record_succeeded
from imagen.ledger.outbox.outbox import claim_outgoing, outgoing_owners
from imagen.ledger.outbox.supabase_rows import was_silent
from imagen.ledger.queries.usage_rows import record_usage
from imagen.ledger.store.outgoing_tables import USAGE_SINK
from imagen.services.sync import first_upload
from imagen.services.sync.first_upload import wait_for_first_upload
from imagen.services.sync.send import OutboxSender
from imagen.services.sync.send_now import send_now
from imagen.services.sync.unsent import find_unsent, sync_status


class Server:
    """A sink that answers once it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.was_asked = threading.Event()
        self.seen: list[UUID] = []

    def send(self, item: Any) -> None:
        self.was_asked.set()
        self.may_answer.wait()
        self.seen.append(item.job.id)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.may_answer.set()


@pytest.fixture
def sender(sqlite_desk: Any, server: Server) -> OutboxSender:
    return OutboxSender(sqlite_desk.ledger, "one", {USAGE_SINK: server})


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def deliver(desk: Any, *, also_send: bool = True) -> UUID:
    job_id: UUID = desk.generated()
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    record_usage(desk.ledger, [claim], also_send=also_send)
    record_succeeded(desk.ledger, [Delivered(claim, "/x.png", "0" * 64, "k")])
    return job_id


def test_usage_kept_here_is_told_and_goes_out_with_the_rest(
    sqlite_desk: Any, sender: OutboxSender, server: Server, stop: threading.Event, tmp_path: Path
) -> None:
    ids = [deliver(sqlite_desk), deliver(sqlite_desk, also_send=False)]
    server.may_answer.set()
    before = sync_status(sqlite_desk.ledger, sends_usage=True, counts_kept=True)

    sent = send_now(sender, lock_folder=tmp_path, sends_usage=True, stop=stop)

    after = sync_status(sqlite_desk.ledger, sends_usage=True, counts_kept=True)
    assert (before.number, before.kept_usage, len(before.waiting)) == (2, 1, 2)
    assert before.to_json()["left"] == {"usage": 2, "cloud": 0}
    assert (sent.number, sent.by_others, sorted(server.seen)) == (2, 0, sorted(ids))
    assert (after.number, after.waiting) == (0, ())


def test_a_stop_gives_back_what_a_silent_server_has_not_taken(
    sqlite_desk: Any, sender: OutboxSender, server: Server, stop: threading.Event, tmp_path: Path
) -> None:
    deliver(sqlite_desk)
    threading.Thread(target=lambda: (server.was_asked.wait(), stop.set())).start()

    sent = send_now(sender, lock_folder=tmp_path, sends_usage=False, stop=stop)

    assert sent.number == 0
    assert outgoing_owners(sqlite_desk.ledger) == set()


def test_what_another_process_is_sending_is_waited_for_until_the_time_is_over(
    sqlite_desk: Any, sender: OutboxSender, server: Server, stop: threading.Event, tmp_path: Path
) -> None:
    deliver(sqlite_desk)
    assert claim_outgoing(sqlite_desk.ledger, "other", limit=1)

    sent = send_now(sender, lock_folder=tmp_path, sends_usage=False, stop=stop, timeout_s=0.2)

    assert (sent.number, server.seen) == (0, [])
    assert outgoing_owners(sqlite_desk.ledger) == {"other"}


def test_a_first_upload_in_vain_leaves_its_reason_and_is_remembered(
    sqlite_desk: Any, sender: OutboxSender, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_upload, "PATIENCE_S", 0.2)
    job_id = deliver(sqlite_desk)

    wait_for_first_upload(sqlite_desk.ledger, Scope(job_ids=(job_id,)), sender=sender, stop=stop)

    [unsent] = find_unsent(sqlite_desk.ledger, EVERYTHING, sends_usage=True)
    assert unsent.why == "no answer within 0.2 s"
    assert was_silent(sqlite_desk.ledger)


def test_nothing_to_send_is_no_reason_to_ask_a_server(
    sqlite_desk: Any, sender: OutboxSender, server: Server, stop: threading.Event
) -> None:
    sqlite_desk.submit()

    wait_for_first_upload(sqlite_desk.ledger, EVERYTHING, sender=sender, stop=stop)

    assert not server.was_asked.is_set()
