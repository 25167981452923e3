"""``imagen generate``: what is asked, what is answered, and what is refused before it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

HOSTILE = [
    "مدينة على البحر",
    "🦊👩\u200d👧 in the snow",
    "$(rm -rf ~); `id` | cat > /etc/passwd",
    "../../etc/passwd",
    "{date} %s %(x)s {0.__class__}",
    "tabs\tand\nlines",
    "\x1b[2J\u202eflipped",
    "-",
]


def test_the_answer_is_the_absolute_path_and_nothing_else(draw, tmp_path):
    done = draw("a fox")

    path = Path(done.out.removesuffix("\n"))
    assert done.code == 0
    assert path.parent == tmp_path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert done.err == ""


def test_json_is_one_object_with_the_documented_keys(draw):
    done = draw("a fox", "--json", "--seed", "7")

    assert set(done.json) == {
        *("id", "state", "path", "sidecar", "seed", "backend", "model", "width", "height"),
        *("format", "cost_usd", "cost_source", "latency_ms", "sha256", "warnings", "error"),
        *("requested_size", "steps", "negative"),
    }
    assert done.json["seed"] == 7
    assert done.json["error"] is None
    assert Path(done.json["sidecar"]).exists()


def test_an_output_path_is_relative_to_the_shell_and_its_folders_are_made(draw, tmp_path):
    done = draw("a fox", "--output", "new/deep/fox.webp")

    assert done.out == f"{tmp_path}/new/deep/fox.webp\n"
    assert (tmp_path / "new/deep/fox.webp").read_bytes()[8:12] == b"WEBP"


def test_an_output_path_replaces_what_stands_there(draw, tmp_path):
    (tmp_path / "fox.png").write_text("old")
    draw("a fox", "--output", "fox.png")

    assert (tmp_path / "fox.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", [".", "folder", "folder/"])
def test_a_folder_as_output_is_refused_before_drawing(draw, tmp_path, path):
    (tmp_path / "folder").mkdir()
    done = draw("a fox", "--output", path)

    assert done.code == 2
    assert "is a folder" in done.err
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_refused_before_drawing(draw, imagen, tmp_path):
    (tmp_path / "file").write_text("")
    done = draw("a fox", "--output", "file/fox.png")

    assert done.code == 2
    assert imagen("jobs", "ls").out == ""


def test_an_output_without_an_image_suffix_is_refused(draw):
    assert draw("a fox", "--output", "fox.txt").code == 2


def test_no_sidecar_writes_none(draw, tmp_path):
    done = draw("a fox", "--no-sidecar", "--json")

    assert done.json["sidecar"] is None
    assert list(tmp_path.glob("*.json")) == []


def test_a_dash_reads_the_prompt_from_standard_input(draw):
    done = draw("-", "--json", stdin=b"  ein Fuchs im Schnee\n")

    assert json.loads(Path(done.json["sidecar"]).read_text())["prompt"] == "ein Fuchs im Schnee"


def test_standard_input_that_is_not_utf8_is_refused(draw):
    done = draw("-", stdin=b"caf\xe9")

    assert done.code == 2
    assert "UTF-8" in done.err


@pytest.mark.parametrize("prompt", HOSTILE)
def test_any_prompt_is_drawn_under_a_safe_name(draw, tmp_path, prompt):
    done = draw("--", prompt, stdin=b"from standard input")

    path = Path(done.out.removesuffix("\n"))
    assert done.code == 0
    assert path.parent == tmp_path
    assert path.name.isascii()


@pytest.mark.parametrize("prompt", ["", "  \n", "\x00", "x" * 200_000])
def test_a_blank_or_endless_prompt_is_refused(draw, imagen, prompt):
    done = draw(prompt)

    assert done.code == 2
    assert len(done.err) < 500
    assert imagen("jobs", "ls").out == ""


def test_what_cannot_be_stored_is_taken_out_with_a_warning(draw):
    done = draw("a \x00fox", "--json")

    assert done.code == 0
    assert done.err.startswith("warning: removed 1 character")
    assert len(done.json["warnings"]) == 1


def test_a_prompt_without_quotes_is_refused_with_advice(draw):
    done = draw("a", "red", "fox")

    assert done.code == 2
    assert "in quotes" in done.err


def test_no_prompt_at_all_is_refused(draw):
    assert "no prompt" in draw().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--size", "10x"), "10x"),
        (("--size", "99999x1"), "99999"),
        (("--seed", "-1"), "-1"),
        (("--seed", "x"), "'x'"),
        (("--steps", "-2"), "-2"),
        (("--style", "blog-haeder"), "did you mean 'blog-header'"),
        (("--backend", "mokc"), "did you mean 'mock'"),
        (("--opt", "palette"), "'palette' is not KEY=VALUE"),
        (("--opt", "colour=red"), "'colour'"),
        (("--timeout", "soon"), "'soon'"),
    ],
)
def test_what_cannot_be_asked_for_is_named(draw, words, named):
    done = draw("a fox", *words)

    assert done.code == 2
    assert named in done.err
    assert done.out == ""


def test_zero_and_nothing_mean_the_default(imagen):
    done = imagen(
        *("generate", "a fox", "--backend", "mock", "--size", "", "--seed", "0", "--steps", "0"),
        *("--style", "", "--negative", "", "--timeout", "0", "--json"),
    )

    assert (done.json["width"], done.json["height"]) == (1024, 1024)
    assert done.json["seed"] > 0


def test_flags_that_need_a_later_piece_are_taken(draw):
    assert draw("a fox", "--no-preview", "--no-cloud", "--wait").code == 0


def test_a_job_that_fails_ends_with_the_exit_code_of_its_error(imagen, configure):
    configure("backends:\n  strict: {type: mock, moderate_if_contains: fox}\n")
    done = imagen("generate", "a fox", "--backend", "strict", "--json")

    assert done.code == 8
    assert done.json["state"] == "failed"
    assert done.json["path"] is None
    assert done.json["error"]["code"] == "content_rejected"
    assert "fox" not in done.err


def test_one_retry_is_told_on_stderr_and_then_it_works(imagen, configure):
    configure("backends:\n  shy: {type: mock, fail_first: 1}\nworkers: {backoff_base_s: 0.05}\n")
    done = imagen("generate", "a fox", "--backend", "shy", "--size", "64x64")

    assert done.code == 0
    assert done.err.startswith("retrying in 0.")
    assert done.out.endswith(".png\n")


def test_a_backend_that_stays_away_ends_with_5_and_says_how_to_go_on(imagen, configure):
    configure(
        "backends:\n  gone: {type: mock, unavailable: true}\nworkers: {backoff_base_s: 0.05}\n"
    )
    done = imagen("generate", "a fox", "--backend", "gone", "--json")

    assert done.code == 5
    assert done.json["error"]["code"] == "backend_unavailable"
    assert f"imagen jobs retry {done.json['id']}" in done.err


def test_giving_up_ends_with_6_and_says_how_to_go_on(imagen, configure):
    configure("backends:\n  slow: {type: mock, latency_ms: 60000}\n")
    done = imagen("generate", "a fox", "--backend", "slow", "--timeout", "0.2", "--json")

    assert done.code == 6
    assert done.json["state"] == "queued"
    assert f"imagen jobs resume {done.json['id']}" in done.err


def test_an_empty_account_ends_with_7(imagen, configure):
    configure("backends:\n  poor: {type: mock, cost_usd: 1, out_of_credit: true}\n")
    done = imagen("generate", "a fox", "--backend", "poor", "--size", "64x64")

    assert done.code == 7


def test_leftovers_of_earlier_commands_are_mentioned_and_left_alone(imagen, configure, draw):
    configure("backends:\n  slow: {type: mock, latency_ms: 60000}\n")
    imagen("generate", "a fox", "--backend", "slow", "--timeout", "0.2")
    done = draw("a hare")

    assert done.code == 0
    assert "1 job of an earlier command waits" in done.err
    assert "imagen jobs resume --all" in done.err
    assert done.out.count("\n") == 1


def test_on_a_terminal_the_path_stays_alone_on_its_line(draw):
    done = draw("a fox", "--seed", "3", terminal=True)

    assert done.out.endswith(".png\n")
    assert "seed 3" in done.err


def test_a_corrupt_ledger_ends_with_5_and_says_what_to_do(draw, tmp_path):
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"no database at all" * 100)
    done = draw("a fox", env={"IMAGEN_DATABASE_URL": f"sqlite:///{ledger}"})

    assert done.code == 5
    assert "not a database" in done.err
    assert "hint:" in done.err


def test_a_ledger_that_nobody_serves_ends_with_5(draw):
    done = draw("a fox", env={"IMAGEN_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})

    assert done.code == 5
    assert "unreachable" in done.err


def test_embedded_a_folder_outside_the_configured_ones_is_refused_before_drawing(
    imagen, configure, tmp_path
):
    configure(f"results: {{allowed_dirs: [{tmp_path / 'allowed'}]}}")

    done = imagen("generate", "a fox", "--backend", "mock", "-o", str(tmp_path / "out" / "fox.png"))

    assert done.code == 2
    assert "outside the folders that images may go to" in done.err
    assert imagen("jobs", "ls", "--json").json["jobs"] == []


@pytest.mark.parametrize("name", ["openai_api_key", "hf_token", "password", "secret"])
def test_a_secret_is_refused_as_an_option_and_kept_nowhere(imagen, draw, name):
    done = draw("a fox", "--opt", f"{name}=sk-1", "--json")
    batch = imagen("batch", "-", "--backend", "mock", "--opt", f"{name}=sk-1", stdin=b"a fox\n")

    assert (done.code, batch.code) == (2, 2)
    assert done.json["error"]["code"] == "secret_option"
    for told in (done, batch):
        assert f"input_env: {{{name}: {name.upper()}}}" in told.err
        assert "sk-1" not in told.out + told.err
    assert imagen("jobs", "ls", "--json").json["jobs"] == []


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("f" * 246 + ".png", 0),
        ("f" * 247 + ".png", 2),
        ("f" * 300 + ".png", 2),
        ("d" * 300 + "/f.png", 2),
        ("d/" * 3_000 + "f.png", 2),
    ],
)
def test_a_name_too_long_for_its_sidecar_is_refused_before_it_is_drawn(imagen, draw, output, code):
    done = draw("a fox", "--output", output)

    assert done.code == code
    assert len(imagen("jobs", "ls", "--json").json["jobs"]) == (code == 0)
    assert "bug" not in done.err


def test_a_folder_too_deep_is_refused_before_it_is_drawn(imagen, configure):
    configure(f"output: {{dir: {'/tmp/x' * 800}}}\n")
    for words in (("generate", "a fox"), ("batch", "-", "--name", "x")):
        done = imagen(*words, "--backend", "mock", stdin=b"a fox\n")

        assert done.code == 2
        assert "too long" in done.err


def test_without_a_sidecar_the_name_may_be_as_long_as_the_disk_allows(draw):
    assert draw("a fox", "--no-sidecar", "--output", "f" * 251 + ".png").code == 0
