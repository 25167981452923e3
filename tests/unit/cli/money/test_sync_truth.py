"""What is unsent is one number, whichever command tells it, on every kind of ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.cli.money import outgoing
from imagen.services.sync import first_upload
from imagen.services.sync.drain_thread import END_S
from tests.fakes.supabase import FakeSupabase, SupabaseFault

pytestmark = pytest.mark.usefixtures("paid")

FOX = ("generate", "a red fox", "--backend", "paid", "--size", "64x64")
BATCH = ("batch", "prompts.txt", "--backend", "paid", "--size", "64x64")


@pytest.fixture(params=["sqlite", "postgresql"])
def apart(request: pytest.FixtureRequest, imagen: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger of either kind that is not the project's database; its address, "" for SQLite."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("IMAGEN_DATABASE_URL", url)
    imagen("db", "upgrade")
    return url


@pytest.mark.usefixtures("apart")
def test_usage_of_a_ledger_outside_the_project_arrives_in_the_project(
    imagen: Any, fake: FakeSupabase
) -> None:
    done = imagen(*FOX, env=fake.env)

    assert (done.code, done.err) == (0, "")
    assert len(fake.rows("mai", "imagen_usage")) == 1
    assert imagen("sync", "--status", env=fake.env).code == 0
    assert imagen("usage", "--json", env=fake.env).json["total"]["count"] == 1


@pytest.mark.usefixtures("apart")
def test_usage_recorded_before_there_was_a_project_is_unsent_everywhere_until_sync(
    imagen: Any, fake: FakeSupabase
) -> None:
    imagen(*FOX, env={})
    imagen(*FOX, env={})

    status = imagen("sync", "--status", env=fake.env)
    facts = imagen("sync", "--status", "--json", env=fake.env).json
    usage = imagen("usage", env=fake.env)
    doctor = imagen("doctor", env=fake.env)
    sent = imagen("sync", env=fake.env)
    after = imagen("sync", "--status", env=fake.env)

    assert status.code == 5
    assert "recorded while no project was configured" in status.out
    assert facts["left"] == {"usage": 2, "cloud": 0}
    assert [each["number"] for each in facts["waiting"]] == [2]
    assert "2 images of these still to send" in usage.err
    assert "2 to send (imagen sync)" in doctor.out
    assert (sent.code, after.code) == (0, 0)
    assert "2 sent" in sent.err
    assert len(fake.rows("mai", "imagen_usage")) == 2
    assert "still to send" not in imagen("usage", env=fake.env).err


@pytest.mark.usefixtures("apart")
def test_without_a_project_the_status_tells_what_is_kept_and_all_is_well(imagen: Any) -> None:
    imagen(*FOX)

    done = imagen("sync", "--status")

    assert done.code == 0
    assert "1 usage row is kept in this ledger" in done.err


def test_a_ledger_said_to_be_the_projects_database_sends_no_usage_rows(
    imagen: Any, configure: Any, paid: str, fake: FakeSupabase, postgres_url: str
) -> None:
    configure(paid + "database: {in_supabase: on}\n")
    env = fake.env | {"IMAGEN_DATABASE_URL": postgres_url}
    imagen("db", "upgrade", env=env)

    done = imagen(*FOX, env=env)

    assert (done.code, done.err) == (0, "")
    assert len(fake.objects()) == 1
    assert fake.rows("mai", "imagen_usage") == fake.rows("imagen", "images") == []
    assert "nothing to send" in imagen("sync", "--status", env=env).err


def test_usage_that_waits_in_the_outbox_of_the_projects_own_database_is_there_already(
    imagen: Any, configure: Any, paid: str, fake: FakeSupabase, postgres_url: str
) -> None:
    env = fake.env | {"IMAGEN_DATABASE_URL": postgres_url}
    imagen("db", "upgrade", env=env)
    fake.go_down()
    imagen(*FOX, "--no-cloud", env=env)
    configure(paid + "database: {in_supabase: on}\n")

    assert imagen("sync", env=env).code == 0
    assert imagen("usage", "--json", env=env).json["total"]["count"] == 1


@pytest.mark.usefixtures("apart")
def test_a_batch_with_nothing_to_draw_mentions_what_is_unsent(
    imagen: Any, fake: FakeSupabase, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a fox\na hen\n")
    fake.go_down()
    imagen(*BATCH, env=fake.env)
    calls = len(fake.calls)

    again = imagen(*BATCH, env=fake.env)
    fake.come_back()
    imagen("sync", env=fake.env)
    after = imagen(*BATCH, env=fake.env)

    assert "nothing to do" in again.err
    assert "imagen: cloud sync: " in again.err
    assert "send it with: imagen sync" in again.err
    assert len(fake.calls) >= calls
    assert (after.code, after.err) == (0, "nothing to do: 2 images are there already\n")


@pytest.mark.usefixtures("apart")
def test_a_silence_is_remembered_by_the_next_commands_of_this_ledger(
    imagen: Any, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_upload, "PATIENCE_S", 0.4)
    monkeypatch.setattr(first_upload, "PATIENCE_AFTER_SILENCE_S", 0.2)
    fake.world.slow_s = 5.0
    fake.inject(SupabaseFault.SLOW, times=None)

    first = imagen(*FOX, env=fake.env)
    second = imagen(*FOX, env=fake.env)
    fake.heal()
    monkeypatch.setattr(first_upload, "PATIENCE_AFTER_SILENCE_S", 60.0)
    imagen(*FOX, env=fake.env)
    fake.inject(SupabaseFault.SLOW, times=None)
    later = imagen(*FOX, env=fake.env)

    assert "no answer within 0.4 s" in first.err
    assert "no answer within 0.2 s" in second.err
    # An answer in between ended the memory.
    assert "no answer within 0.4 s" in later.err


def test_after_a_silence_a_command_waits_two_seconds_at_most() -> None:
    assert first_upload.PATIENCE_AFTER_SILENCE_S + END_S <= 2.0
    assert first_upload.SILENCE_REMEMBERED_S >= 120


def test_waiting_for_supabase_is_no_part_of_the_drawing(
    imagen: Any, fake: FakeSupabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: list[float] = []
    tell = outgoing.tell_outgoing

    def tell_late(*args: Any) -> None:
        clock.step(1_000.0)
        tell(*args)

    clock = _Clock()
    monkeypatch.setattr("imagen.cli.draw.batch.time", clock)
    monkeypatch.setattr(outgoing, "tell_outgoing", tell_late)
    (tmp_path / "prompts.txt").write_text("a fox\n")

    seconds.append(imagen(*BATCH, "--json", env=fake.env).json["seconds"])

    assert seconds[0] < 1_000


class _Clock:
    """A clock that a test may put forward."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def step(self, seconds: float) -> None:
        self._ahead_s += seconds

    def monotonic(self) -> float:
        import time

        return time.monotonic() + self._ahead_s


def test_a_silent_server_leaves_its_reason_in_the_status(
    imagen: Any, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_upload, "PATIENCE_S", 0.2)
    fake.world.slow_s = 3.0
    fake.inject(SupabaseFault.SLOW, times=None)

    imagen(*FOX, env=fake.env)

    assert "no answer within 0.2 s" in imagen("sync", "--status", env=fake.env).out
