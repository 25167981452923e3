"""``imagen jobs``: looking at jobs, and telling them what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

SLOW = "backends:\n  slow: {type: mock, latency_ms: 60000}\n"
FAST = "backends:\n  slow: {type: mock}\n"


@pytest.fixture
def waiting(imagen, configure):
    """Submits a job that nobody draws; answers with its id."""

    def submit(prompt: str = "a fox") -> str:
        configure(SLOW)
        done = imagen(
            *("generate", prompt, "--backend", "slow", "--size", "64x64"),
            *("--timeout", "0.1", "--json"),
        )
        configure(FAST)
        return str(done.json["id"])

    return submit


@pytest.fixture
def failed(imagen, configure):
    """Submits a job that fails; answers with its id. It would be drawn now."""

    def submit(prompt: str = "a fox") -> str:
        configure("backends:\n  slow: {type: mock, reject: true}\n")
        done = imagen("generate", prompt, "--backend", "slow", "--size", "64x64", "--json")
        configure(FAST)
        return str(done.json["id"])

    return submit


def test_ls_lists_the_newest_first_with_short_ids_that_work(imagen, draw):
    first = draw("a fox", "--json").json["id"]
    second = draw("an owl", "--json").json["id"]
    head, *rows = imagen("jobs", "ls").out.splitlines()

    assert head.split() == ["ID", "STATE", "BACKEND", "SIZE", "AGE", "PROMPT", "RESULT"]
    assert [row.split()[5] for row in rows] == ["an-owl", "a-fox"]
    shorts = [row.split()[0] for row in rows]
    assert [len(short) >= 13 for short in shorts] == [True, True]
    assert [imagen("jobs", "show", each, "--json").json["id"] for each in shorts] == [second, first]


def test_ls_shows_paths_as_seen_from_here_and_reasons_of_failure(imagen, draw, failed):
    draw("a fox")
    failed("an owl")
    _, worse, better = imagen("jobs", "ls").out.splitlines()

    assert "configured to reject" in worse
    assert better.split()[-1].startswith("20")


def test_ls_filters(imagen, draw, waiting):
    draw("a fox")
    waiting("an owl")

    def listed(*words: str) -> int:
        return len(imagen("jobs", "ls", "--json", *words).json["jobs"])

    assert listed() == 2
    assert listed("--state", "queued") == 1
    assert listed("--state", "queued", "--state", "succeeded") == 2
    assert listed("--backend", "mock") == 1
    assert listed("--since", "1h") == 2
    assert listed("--since", "2999-01-01") == 0
    assert listed("--batch", "nope") == 0
    assert listed("--limit", "1") == 1


def test_ls_says_when_there_is_more_or_nothing(imagen, draw):
    assert imagen("jobs", "ls").err == "no jobs\n"
    draw("a fox")
    draw("an owl")

    assert "--limit" in imagen("jobs", "ls", "-n", "1").err


def test_ls_fits_the_terminal(imagen, draw, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    draw("a fox that has quite a long description which no terminal can hold")
    lines = imagen("jobs", "ls", terminal=True).out.splitlines()

    assert max(len(line) for line in lines) <= 80


def test_show_tells_the_prompt_the_path_and_every_attempt(imagen, draw):
    drawn = draw("a fox", "--json", "--seed", "9").json
    said = imagen("jobs", "show", drawn["id"][:13]).out

    for part in ("a fox", drawn["path"], "seed", "ATTEMPT", "drawn"):
        assert part in said


def test_show_with_json_has_request_and_attempts(imagen, failed):
    done = imagen("jobs", "show", failed(), "--json")

    assert done.code == 0
    assert done.json["prompt"] == "a fox"
    assert done.json["attempts"][0]["error"]["code"] == "backend_rejected"
    assert done.json["error"]["code"] == "backend_rejected"


@pytest.mark.parametrize("prefix", ["zzzz", "01", "ffffffff"])
def test_an_id_that_names_no_job_is_refused(imagen, prefix):
    done = imagen("jobs", "show", prefix)

    assert done.code == 2
    assert prefix in done.err


def test_an_id_that_names_several_jobs_is_refused(imagen, draw):
    first = draw("a fox", "--json").json["id"]
    draw("an owl")
    done = imagen("jobs", "show", first[:5])

    assert done.code == 2
    assert "several jobs" in done.err


def test_wait_prints_the_paths_of_what_is_done(imagen, draw):
    drawn = [draw("a fox", "--json").json, draw("an owl", "--json").json]
    done = imagen("jobs", "wait", *(each["id"] for each in drawn))

    assert done.out.splitlines() == [each["path"] for each in drawn]


def test_wait_draws_nothing_and_gives_up_with_6(imagen, waiting):
    id_ = waiting()
    done = imagen("jobs", "wait", id_, "--timeout", "0.1", "--json")

    assert done.code == 6
    assert done.json["jobs"][0]["state"] == "queued"
    assert f"imagen jobs resume {id_}" in done.err


def test_wait_ends_as_the_job_did(imagen, failed, draw):
    id_ = failed()
    other = draw("an owl", "--json").json

    assert imagen("jobs", "wait", id_).code == 1
    both = imagen("jobs", "wait", id_, other["id"])
    assert (both.code, both.out.strip()) == (4, other["path"])


def test_resume_draws_what_was_left(imagen, waiting):
    id_ = waiting()
    done = imagen("jobs", "resume", id_[:13])

    assert done.code == 0
    assert Path(done.out.strip()).exists()


def test_resume_all_draws_everything_that_was_left(imagen, waiting):
    waiting("a fox")
    waiting("an owl")
    done = imagen("jobs", "resume", "--all")

    assert done.code == 0
    assert len(done.out.splitlines()) == 2
    assert "2 of 2 drawn" in done.err
    assert "nothing to draw" in imagen("jobs", "resume", "--all").err


def test_resume_counts_in_json(imagen, waiting):
    waiting()
    done = imagen("jobs", "resume", "--all", "--json")

    assert {key: done.json[key] for key in ("drawn", "failed", "left", "error")} == {
        "drawn": 1,
        "failed": 0,
        "left": 0,
        "error": None,
    }


def test_resume_of_a_batch_leaves_other_jobs_alone(imagen, waiting, configure, tmp_path):
    other = waiting()
    (tmp_path / "p.txt").write_text("a hare\nan owl\n")
    configure(SLOW)
    imagen("batch", "p.txt", "--backend", "slow", "--size", "64x64", "--timeout", "0.1")
    configure(FAST)
    done = imagen("jobs", "resume", "--batch", "p")

    assert len(done.out.splitlines()) == 2
    assert imagen("jobs", "show", other, "--json").json["state"] == "queued"


def test_jobs_of_another_host_are_not_waited_for_in_vain(imagen, waiting):
    id_ = waiting()
    elsewhere = {"IMAGEN_HOST": "elsewhere"}

    assert imagen("jobs", "resume", "--all", env=elsewhere).code == 0
    done = imagen("jobs", "resume", id_, env=elsewhere)
    assert done.code == 2
    assert "IMAGEN_HOST=" in done.err


def test_cancel_ends_what_waits_and_says_so(imagen, waiting):
    id_ = waiting()
    done = imagen("jobs", "cancel", id_)

    assert done.out == f"{id_} canceled\n"
    assert imagen("jobs", "wait", id_).code == 1


def test_resume_counts_canceled_jobs_apart_from_failed_ones(imagen, waiting):
    waiting()
    answer = imagen("jobs", "resume", "--all", "--json").json

    assert (answer["drawn"], answer["failed"], answer["canceled"]) == (1, 0, 0)


def test_cancel_leaves_what_is_done(imagen, draw):
    drawn = draw("a fox", "--json").json
    done = imagen("jobs", "cancel", drawn["id"], "--json")

    assert done.code == 0
    assert done.json["jobs"] == []
    assert "succeeded already" in done.err
    assert Path(drawn["path"]).exists()


def test_cancel_all_and_of_a_batch(imagen, waiting):
    waiting()
    waiting("an owl")

    assert imagen("jobs", "cancel", "--batch", "nope").code == 2
    assert len(imagen("jobs", "cancel", "--all").out.splitlines()) == 2
    assert "nothing to cancel" in imagen("jobs", "cancel", "--all").err


def test_retry_draws_a_failed_job_again_under_the_same_id(imagen, failed):
    id_ = failed()
    done = imagen("jobs", "retry", id_, "--json")

    assert done.code == 0
    assert done.json["jobs"][0]["id"] == id_
    assert done.json["jobs"][0]["state"] == "succeeded"


def test_retry_failed_leaves_canceled_jobs_alone(imagen, failed, waiting):
    failed("a fox")
    canceled = waiting("an owl")
    imagen("jobs", "cancel", canceled)
    done = imagen("jobs", "retry", "--failed")

    assert len(done.out.splitlines()) == 1
    assert imagen("jobs", "show", canceled, "--json").json["state"] == "canceled"
    assert imagen("jobs", "retry", canceled).code == 0


def test_retry_of_what_is_done_prints_its_path(imagen, draw):
    drawn = draw("a fox", "--json").json
    done = imagen("jobs", "retry", drawn["id"])

    assert done.out.strip() == drawn["path"]
    assert "nothing to retry" in done.err


@pytest.mark.parametrize(
    "words",
    [("resume",), ("retry",), ("cancel",), ("resume", "--all", "0000"), ("wait",)],
)
def test_jobs_must_be_named_in_one_way(imagen, words):
    done = imagen("jobs", *words)

    assert done.code == 2
    assert f"imagen jobs {words[0]} --help" in done.err


def test_two_batches_of_one_name_are_told_apart_by_their_keys(imagen, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.txt").write_text("a hare\n")
        imagen("batch", f"{folder}/p.txt", "--backend", "mock", "--size", "64x64")
    done = imagen("jobs", "resume", "--batch", "p")
    keys = [line.split("--batch ")[1].strip("'") for line in done.err.splitlines()[2:]]

    assert done.code == 2
    assert [imagen("jobs", "resume", "--batch", key).code for key in keys] == [0, 0]


def test_retry_gives_one_job_another_file(imagen, failed, waiting, tmp_path):
    id_ = failed()
    done = imagen("jobs", "retry", id_, "--output", "other.webp", "--json")

    (job,) = done.json["jobs"]
    assert done.code == 0
    assert job["path"] == str(tmp_path / "other.webp")
    assert (tmp_path / "other.webp").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "other.webp.json").exists()


def test_retry_refuses_a_file_for_what_is_no_single_failed_job(imagen, failed, draw, tmp_path):
    done = draw("a fox", "--json").json["id"]
    ids = [failed(), failed("an owl")]
    for words in (ids, ["--failed"], [done], [ids[0]]):
        name = "f" * 300 + ".png" if words == [ids[0]] else "x.png"
        refused = imagen("jobs", "retry", *words, "--output", name)
        assert refused.code == 2, words
        assert "hint:" in refused.err
    assert not (tmp_path / "x.png").exists()
    assert imagen("jobs", "show", ids[0], "--json").json["state"] == "failed"
