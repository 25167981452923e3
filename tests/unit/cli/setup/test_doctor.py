"""``imagen doctor``: what is broken, what it means, and what to mend."""

from __future__ import annotations

import pytest

from tests.fakes.supabase import FakeSupabase
from tests.fakes.supabase.keyring import make_jwt

HEALTHY = "default_backend: good\nbackends:\n  good: {type: mock}\n"
BROKEN = "default_backend: gone\nbackends:\n  gone: {type: mock, unavailable: true}\n"


def test_a_house_in_order_is_ok_although_other_backends_are_not_set_up(imagen, configure):
    configure(HEALTHY)
    done = imagen("doctor")

    assert done.code == 0
    assert "ok       ledger: sqlite at" in done.out
    assert "ok       backend good (default)" in done.out
    assert "warning  backend flux-schnell-replicate" in done.out
    assert "broken" not in done.out


def test_a_default_backend_that_cannot_draw_is_broken(imagen, configure):
    configure(BROKEN)
    done = imagen("doctor")

    assert done.code == 5
    assert "broken   backend gone (default)" in done.out


def test_a_broker_that_is_away_is_broken_and_named_without_its_password(imagen, configure):
    configure(HEALTHY)
    done = imagen("doctor", env={"IMAGEN_BROKER_URL": "redis://:not-a-real-one@127.0.0.1:1/0"})

    assert done.code == 5
    assert "broken   broker: Redis at redis://127.0.0.1:1/0 is unreachable" in done.out
    assert "not-a-real-one" not in done.out + done.err


def test_json_holds_every_finding(imagen, configure):
    configure(HEALTHY)
    findings = {each["what"]: each for each in imagen("doctor", "--json").json["findings"]}

    assert findings["ledger"]["state"] == "ok"
    assert findings["output"]["state"] == "ok"
    assert findings["supabase"]["text"].startswith("not configured")


def test_json_of_a_broken_house_is_one_object_too(imagen, configure):
    configure(BROKEN)
    done = imagen("doctor", "--json")

    assert done.code == 5
    assert done.json["error"]["message"] == "something is broken"
    assert any(each["state"] == "broken" for each in done.json["findings"])


@pytest.fixture
def fake():
    with FakeSupabase() as running:
        yield running


def lines(done, what):
    """The findings about one thing, without the columns before their text."""
    return [line for line in done.out.splitlines() if f" {what}" in line[:40]]


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("colour: red\nsize: 3\n", {}),
        ("{", {}),
        (HEALTHY, {"IMAGEN_CONFIG": "/nowhere.yaml"}),
        (HEALTHY, {"IMAGEN_BROKER_URL": "amqp://x"}),
    ],
)
def test_a_broken_configuration_hides_nothing_else(imagen, configure, text, env):
    configure(text)
    done = imagen("doctor", env=env)

    assert done.code == 5
    assert lines(done, "config:")[0].startswith("broken")
    for what in ("ledger:", "output:", "backend mock:", "supabase:"):
        assert lines(done, what), what


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////proc/no/ledger.db",
        "postgresql://me@127.0.0.1:1/x?password=s3cret",
        "postgresql://me:s3cret@127.0.0.1:port/x",
        "postgresql://127.0.0.1:1/x?nonsense=1",
    ],
)
def test_a_broken_ledger_hides_nothing_else_and_no_password_is_shown(imagen, configure, url):
    configure(HEALTHY)
    done = imagen("doctor", env={"IMAGEN_DATABASE_URL": url})

    assert done.code == 5
    assert lines(done, "ledger:")[0].startswith("broken")
    assert lines(done, "backend good (default)")[0].startswith("ok")
    assert lines(done, "supabase:")
    assert "s3cret" not in done.out + done.err


def test_a_ledger_that_is_no_database_hides_nothing_else(imagen, configure, made_ledger):
    configure(HEALTHY)
    made_ledger.write_bytes(b"no database" * 1_000)
    done = imagen("doctor")

    assert lines(done, "ledger:")[0].startswith("broken")
    assert lines(done, "backend good (default)")[0].startswith("ok")


def test_a_paused_backend_that_jobs_wait_for_is_found(imagen, configure):
    configure(HEALTHY)
    imagen("backends", "pause", "good", "--reason", "for tea")
    assert "for tea" not in imagen("doctor").out
    imagen("generate", "a fox", "--size", "64x64", "--timeout", "0.1")
    done = imagen("doctor")

    assert done.code == 0
    (line,) = lines(done, "jobs of good")
    assert line == (
        "warning  jobs of good: 1 wait, and the backend is paused: for tea"
        " (imagen backends resume good)"
    )


@pytest.mark.parametrize(
    ("output", "env", "state"),
    [
        ("{}", {"SUPABASE_URL": "http://127.0.0.1:1"}, "warning"),
        ("{}", {"SUPABASE_SERVICE_KEY": "x"}, "warning"),
        ("{cloud_sync: on}", {}, "broken"),
        ("{}", {}, "ok"),
    ],
)
def test_half_a_supabase_is_found(imagen, configure, output, env, state):
    configure(f"{HEALTHY}output: {output}\n")
    (line,) = lines(imagen("doctor", env=env), "supabase:")

    assert line.startswith(state)
    missing = [v for v in ("SUPABASE_URL", "SUPABASE_SERVICE_KEY") if v not in env]
    assert state == "ok" or all(variable in line for variable in missing)


def test_preview_on_outside_tmux_is_found(imagen, configure, monkeypatch):
    monkeypatch.delenv("TMUX", raising=False)
    configure(f"{HEALTHY}output: {{preview: on}}\n")
    (line,) = lines(imagen("doctor"), "preview:")

    assert line.startswith("warning")
    assert "not inside tmux" in line
    assert imagen("doctor").code == 0


def test_a_schema_that_rest_does_not_show_is_broken(imagen, configure, fake):
    configure(HEALTHY)
    healthy = imagen("doctor", env=fake.env)
    assert [line[:6] for line in lines(healthy, "supabase ")] == ["ok    ", "ok    "]

    fake.world.exposed = ["public"]
    done = imagen("doctor", env=fake.env)

    assert done.code == 5
    assert lines(done, "supabase storage:")[0].startswith("ok")
    (line,) = lines(done, "supabase rest:")
    assert line.startswith("broken")
    assert "schema" in line


@pytest.mark.parametrize("role", ["authenticated", "anon"])
def test_a_key_that_is_not_the_service_s_is_broken(imagen, configure, fake, role):
    configure(HEALTHY)
    done = imagen("doctor", env={**fake.env, "SUPABASE_SERVICE_KEY": make_jwt(role)})

    assert done.code == 5
    (line,) = lines(done, "supabase:")
    assert line.startswith("broken")
    assert "may not write" in line


def test_beside_a_broken_configuration_the_environment_still_counts(imagen, configure, tmp_path):
    configure("colour: red\n")
    done = imagen("doctor", env={"IMAGEN_DATABASE_URL": f"sqlite:///{tmp_path}/other.db"})

    assert f"sqlite at {tmp_path}/other.db" in lines(done, "ledger:")[0]
