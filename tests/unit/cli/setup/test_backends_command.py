"""``imagen backends``: what can draw, and leaving one alone for a while."""

from __future__ import annotations

SETTINGS = """\
default_backend: good
backends:
  good: {type: mock}
  gone: {type: mock, unavailable: true}
  bare: {type: mock, not_configured_env: SOME_TOKEN, queue: gpu.big}
"""


def test_the_list_tells_type_queue_and_state(imagen, configure):
    configure(SETTINGS)
    done = imagen("backends")
    rows = {line.split()[0]: line for line in done.out.splitlines()}

    assert done.code == 0
    assert "ok" in rows["good"]
    assert "*" in rows["good"].split()
    assert "unreachable" in rows["gone"]
    assert "not configured" in rows["bare"]
    assert "SOME_TOKEN" in rows["bare"]
    assert "gpu.big" in rows["bare"]
    assert "mock (imagen" in done.err


def test_list_is_the_same_and_has_json(imagen, configure):
    configure(SETTINGS)
    done = imagen("backends", "list", "--json")
    states = {each["name"]: each["state"] for each in done.json["backends"]}

    assert states["good"] == "ok"
    assert states["bare"] == "not configured"
    assert "mock" in done.json["types"]
    assert imagen("backends", "--json").json["types"] == done.json["types"]


def test_a_paused_backend_says_so_until_it_goes_on(imagen, configure):
    configure(SETTINGS)
    assert imagen("backends", "pause", "good", "--for", "1h", "--reason", "hot").code == 0
    assert "paused: hot" in imagen("backends").out
    assert "goes on" in imagen("backends", "resume", "good").err
    assert "paused" not in imagen("backends").out


def test_jobs_of_a_paused_backend_wait(imagen, configure):
    configure(SETTINGS)
    imagen("backends", "pause", "good")
    words = ("generate", "a fox", "--backend", "good", "--size", "64x64")

    assert imagen(*words, "--timeout", "0.2").code == 6
    imagen("backends", "resume", "good")
    assert imagen("jobs", "resume", "--all").code == 0


def test_an_unknown_backend_is_refused(imagen):
    assert imagen("backends", "pause", "nope").code == 2
    assert imagen("backends", "resume", "nope").code == 2


def test_a_time_that_is_none_is_refused(imagen):
    assert imagen("backends", "pause", "mock", "--for", "soon").code == 2
