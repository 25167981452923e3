"""``imagen sync``, and what a drawing command says of what did not reach Supabase."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from imagen.services.sync import first_upload
from tests.fakes.supabase import FakeSupabase, Service, SupabaseFault

pytestmark = pytest.mark.usefixtures("paid")

FOX = ("generate", "a red fox", "--backend", "paid", "--size", "64x64")


def test_an_image_is_in_the_cloud_when_the_command_ends(imagen: Any, fake: FakeSupabase) -> None:
    done = imagen(*FOX, env=fake.env)

    assert (done.code, done.err) == (0, "")
    assert len(fake.objects()) == 1
    assert len(fake.rows("imagen", "images")) == 1
    assert len(fake.rows("mai", "imagen_usage")) == 1
    assert imagen("sync", "--status", env=fake.env).code == 0


def test_what_did_not_arrive_is_told_and_changes_nothing_else(
    imagen: Any, away: FakeSupabase
) -> None:
    done = imagen(*FOX, env=away.env)

    assert done.code == 0
    assert Path(done.out.strip()).is_file()
    assert Path(f"{done.out.strip()}.json").is_file()
    assert "imagen: cloud sync: Supabase Storage at" in done.err
    assert "imagen: usage: the Supabase REST API at" in done.err
    assert "imagen sync" in done.err
    assert away.key not in done.err


def test_json_stays_one_object_whatever_the_cloud_says(imagen: Any, away: FakeSupabase) -> None:
    done = imagen(*FOX, "--json", env=away.env)

    assert done.json["error"] is None
    assert "imagen: cloud sync:" in done.err


def test_sync_sends_what_is_left_and_a_second_one_nothing(imagen: Any, away: FakeSupabase) -> None:
    imagen(*FOX, env=away.env)
    away.come_back()

    done = imagen("sync", env=away.env)
    again = imagen("sync", env=away.env)

    assert done.code == again.code == 0
    assert "2 sent" in done.err
    assert "nothing to send" in again.err
    assert len(away.objects()) == len(away.rows("imagen", "images")) == 1
    assert len(away.rows("mai", "imagen_usage")) == 1


def test_sync_that_cannot_send_says_why_and_ends_with_5(imagen: Any, away: FakeSupabase) -> None:
    imagen(*FOX, env=away.env)

    done = imagen("sync", env=away.env)

    assert done.code == 5
    assert "cloud sync" in done.out
    assert "connection refused" in done.out
    assert "2 did not arrive" in done.err


def test_sync_answers_programs_with_one_object(imagen: Any, away: FakeSupabase) -> None:
    imagen(*FOX, env=away.env)

    failed = imagen("sync", "--json", env=away.env)
    away.come_back()
    done = imagen("sync", "--json", env=away.env)

    assert failed.code == 5
    assert (failed.json["sent"], failed.json["left"]) == (0, {"usage": 1, "cloud": 1})
    assert {each["sink"] for each in failed.json["waiting"]} == {"usage", "cloud"}
    assert failed.json["error"]["code"] == "cloud"
    assert (done.json["sent"], done.json["left"]) == (2, {"usage": 0, "cloud": 0})
    assert done.json["error"] is None


def test_status_only_tells(imagen: Any, away: FakeSupabase) -> None:
    imagen(*FOX, env=away.env)
    away.come_back()
    calls = len(away.calls)

    done = imagen("sync", "--status", env=away.env)

    assert done.code == 5
    assert "OLDEST" in done.out
    assert "connection refused" in done.out
    assert len(away.calls) == calls


def test_without_a_project_sync_names_the_variables(imagen: Any, away: FakeSupabase) -> None:
    imagen(*FOX, env=away.env)

    done = imagen("sync")

    assert done.code == 5
    assert "set SUPABASE_URL and SUPABASE_SERVICE_KEY" in done.err


def test_without_a_project_and_with_nothing_to_send_all_is_well(imagen: Any) -> None:
    done = imagen("sync", "--status")

    assert done.code == 0
    assert "nothing to send" in done.err
    assert "set SUPABASE_URL and SUPABASE_SERVICE_KEY" in done.err


def test_sync_gives_up_in_time_and_the_next_one_goes_on(imagen: Any, fake: FakeSupabase) -> None:
    fake.go_down()
    imagen(*FOX, env=fake.env)
    fake.come_back()
    fake.world.slow_s = 2.0
    fake.inject(SupabaseFault.SLOW, times=None)

    late = imagen("sync", "--timeout", "0.2", env=fake.env)
    fake.heal()
    done = imagen("sync", env=fake.env)

    assert late.code == 5
    assert done.code == 0
    assert len(fake.objects()) == len(fake.rows("mai", "imagen_usage")) == 1


def test_what_a_dead_process_held_is_sent_at_once(
    imagen: Any, away: FakeSupabase, made_ledger: Path
) -> None:
    imagen(*FOX, env=away.env)
    folder = made_ledger.parent / "owners"
    folder.mkdir(exist_ok=True)
    (folder / "here:1:dead").touch()
    connection = sqlite3.connect(made_ledger)
    with connection:
        connection.execute(
            "UPDATE outbox SET lease_owner = 'here:1:dead', lease_expires_at = '2999-01-01'"
        )
    connection.close()
    away.come_back()

    assert imagen("sync", env=away.env).code == 0
    assert len(away.objects()) == 1


def test_a_silent_server_is_waited_for_no_longer_than_is_polite(
    imagen: Any, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_upload, "PATIENCE_S", 0.2)
    fake.world.slow_s = 3.0
    fake.inject(SupabaseFault.SLOW, times=None)

    done = imagen(*FOX, env=fake.env)

    assert done.code == 0
    assert "no answer within" in done.err
    fake.heal()
    assert imagen("sync", env=fake.env).code == 0
    assert len(fake.objects()) == len(fake.rows("mai", "imagen_usage")) == 1


def test_no_cloud_keeps_the_image_here_and_sends_usage(imagen: Any, fake: FakeSupabase) -> None:
    imagen(*FOX, "--no-cloud", env={**fake.env, "IMAGEN_CLOUD_SYNC": "on"})

    assert fake.objects() == {}
    assert fake.rows("imagen", "images") == []
    assert len(fake.rows("mai", "imagen_usage")) == 1


@pytest.mark.parametrize(
    ("config", "env", "copies"),
    [
        ("off", "", 0),
        ("off", "on", 1),
        ("on", "off", 0),
        ("auto", "", 1),
    ],
)
def test_the_environment_wins_over_the_configuration(
    imagen: Any, configure: Any, paid: str, fake: FakeSupabase, config: str, env: str, copies: int
) -> None:
    configure(paid + f'output: {{cloud_sync: "{config}"}}\n')

    imagen(*FOX, env={**fake.env, "IMAGEN_CLOUD_SYNC": env})

    assert len(fake.objects()) == copies


def test_without_an_owner_nothing_is_copied_and_nothing_is_said(
    imagen: Any, configure: Any, paid: str, fake: FakeSupabase
) -> None:
    configure(re.sub("owner_user_id: .*", "owner_user_id: ''", paid))

    done = imagen(*FOX, env=fake.env)

    assert (done.code, done.err, fake.objects()) == (0, "", {})


def test_on_without_an_owner_is_refused_before_drawing(
    imagen: Any, configure: Any, paid: str, fake: FakeSupabase
) -> None:
    configure(
        re.sub("owner_user_id: .*", "owner_user_id: ''", paid) + 'output: {cloud_sync: "on"}\n'
    )

    done = imagen(*FOX, env=fake.env)

    assert done.code == 3
    assert "cloud_sync is on (" in done.err
    assert "owner_user_id" in done.err
    assert imagen("jobs", "ls").out == ""
    assert imagen(*FOX, "--no-cloud", env=fake.env).code == 0


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_on_without_a_project_is_refused_before_drawing(
    imagen: Any, tmp_path: Path, command: str
) -> None:
    (tmp_path / "prompts.txt").write_text("a red fox\n")
    what = "prompts.txt" if command == "batch" else "a red fox"

    done = imagen(command, what, "--backend", "paid", env={"IMAGEN_CLOUD_SYNC": "on"})

    assert done.code == 3
    assert "set SUPABASE_URL and SUPABASE_SERVICE_KEY" in done.err
    assert imagen("jobs", "ls").out == ""


def test_on_with_a_broker_is_left_to_the_results_worker(imagen: Any, redis_url: str) -> None:
    env = {"IMAGEN_CLOUD_SYNC": "on", "IMAGEN_BROKER_URL": redis_url}

    assert imagen(*FOX, env=env).code == 0


def test_a_paid_image_nobody_else_knows_of_is_mentioned(imagen: Any) -> None:
    done = imagen(*FOX)

    assert done.code == 0
    assert done.err == (
        "imagen: usage: kept in the local ledger only; "
        "set SUPABASE_URL and SUPABASE_SERVICE_KEY to send it\n"
    )


def test_a_free_image_is_nobodys_business(draw: Any) -> None:
    assert draw("a red fox").err == ""


def test_usage_kept_here_goes_out_once_there_is_a_project(imagen: Any, fake: FakeSupabase) -> None:
    imagen(*FOX)

    assert imagen("sync", env=fake.env).code == 0
    assert imagen("sync", env=fake.env).code == 0
    assert len(fake.rows("mai", "imagen_usage")) == 1
    assert fake.objects() == {}


def test_a_key_that_cannot_be_one_is_told_and_the_image_lands(imagen: Any) -> None:
    env = {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_SERVICE_KEY": "sb_publishable_x"}

    done = imagen(*FOX, env=env)

    assert done.code == 0
    assert "SUPABASE_SERVICE_KEY is a publishable key" in done.err


def test_a_batch_tells_each_reason_once(imagen: Any, away: FakeSupabase, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a fox\na hen\na cat\n")

    done = imagen("batch", "prompts.txt", "--backend", "paid", "--size", "64x64", env=away.env)

    assert done.code == 0
    assert done.err.count("imagen: cloud sync:") == 1
    assert "(3 images)" in done.err


def test_jobs_show_tells_what_did_not_arrive(imagen: Any, away: FakeSupabase) -> None:
    id_ = imagen(*FOX, "--json", env=away.env).json["id"]

    shown = imagen("jobs", "show", id_).out
    facts = imagen("jobs", "show", id_, "--json").json

    assert "not sent: Supabase Storage" in shown
    assert set(facts["to_send"]) == {"cloud", "usage"}
    assert facts["error"] is None


def test_a_resumed_job_is_copied_too(imagen: Any, fake: FakeSupabase, redis_url: str) -> None:
    id_ = imagen(*FOX, env={"IMAGEN_BROKER_URL": redis_url}).out.strip()

    done = imagen("jobs", "resume", id_, env=fake.env)

    assert (done.code, done.err) == (0, "")
    assert len(fake.objects()) == 1


def test_a_refused_row_is_told_without_its_words(imagen: Any, fake: FakeSupabase) -> None:
    fake.inject(SupabaseFault.DATABASE_DOWN, service=Service.REST, times=None)

    done = imagen(*FOX, env=fake.env)

    assert "cannot reach its database" in done.err
    assert "red fox" not in done.err


def test_no_prompt_is_in_what_waits(imagen: Any, away: FakeSupabase, made_ledger: Path) -> None:
    imagen(*FOX, env=away.env)

    connection = sqlite3.connect(made_ledger)
    rows = connection.execute("SELECT * FROM outbox").fetchall()
    usage = connection.execute("SELECT * FROM imagen_usage").fetchall()
    connection.close()
    assert "red fox" not in json.dumps([*rows, *usage], default=str)
