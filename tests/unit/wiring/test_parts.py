"""Parts are closed by the block that opened them, and a lock file tells who is alive."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.errors import LedgerClosed, LedgerUnavailable
from imagen.services.leases.process_lock import alive_among
from imagen.wiring import parts
from imagen.wiring.parts import held_lock, opened_ledger, opened_registry, queues_of_role


def test_a_ledger_is_closed_by_the_block_that_opened_it(make_process: Any) -> None:
    with opened_ledger(make_process()) as ledger, ledger.read():
        pass

    with pytest.raises(LedgerClosed), ledger.read():
        pass


def test_the_configured_backends_can_be_looked_at_without_a_ledger(make_process: Any) -> None:
    with opened_registry(make_process(), None) as registry:
        assert registry.get("mock").check().is_ok


def test_a_process_counts_as_alive_while_it_holds_its_lock(make_process: Any) -> None:
    process = make_process()
    with opened_ledger(process) as ledger, held_lock(process, outbox=ledger):
        assert alive_among(process.lock_folder, [process.owner]) == {process.owner}

    assert list(process.lock_folder.iterdir()) == []


def test_what_may_still_be_held_in_the_outbox_is_given_back_or_the_lock_file_stays(
    make_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = make_process()
    given_back: list[list[str]] = []

    def be_away(*_: Any) -> None:
        raise LedgerUnavailable("the ledger is away")

    with opened_ledger(process) as ledger:
        monkeypatch.setattr(
            parts, "give_back_outgoing", lambda _ledger, owners: given_back.append(owners)
        )
        with held_lock(process, outbox=ledger):
            pass
        assert given_back == [[process.owner]]
        assert list(process.lock_folder.iterdir()) == []

        monkeypatch.setattr(parts, "give_back_outgoing", be_away)
        with held_lock(process, outbox=ledger):
            pass

    assert len(list(process.lock_folder.iterdir())) == 1


def test_a_role_serves_the_queues_of_its_backends(make_process: Any) -> None:
    process = make_process({"backends": {"mock": {"type": "mock", "queue": "studio"}}})

    assert queues_of_role(process, "results") == ["results.here"]
    assert {"gpu", "cloud", "studio"} == {
        *queues_of_role(process, "gpu"),
        *queues_of_role(process, "cloud"),
    }
