"""``imagen doctor``: what is broken, what it means, and what to mend."""

from __future__ import annotations

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
