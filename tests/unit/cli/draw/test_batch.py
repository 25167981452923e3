"""``imagen batch``: drawing only what is missing, and saying what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

SETTINGS = "backends:\n  picky: {type: mock, reject_if_contains: fox}\n"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("# animals\na hare\n\na fox\nan owl\na hare\n")
    return path


@pytest.fixture
def batch(imagen):
    def run(*words: str, backend: str = "mock", **rest):
        return imagen("batch", *words, "--backend", backend, "--size", "64x64", **rest)

    return run


def images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def test_every_line_becomes_an_image_also_the_same_line_twice(batch, prompts, tmp_path):
    done = batch("prompts.txt", "--output-dir", "out")

    assert done.code == 0
    assert done.out == ""
    assert len(images(tmp_path / "out")) == 4
    assert "4 prompts: 4 drawn" in done.err


def test_a_second_run_has_nothing_to_do(batch, prompts, tmp_path):
    batch("prompts.txt")
    done = batch("prompts.txt")

    assert done.code == 0
    assert "nothing to do: 4 images are there already" in done.err
    assert len(images(tmp_path)) == 4


def test_only_new_and_changed_lines_are_drawn(batch, prompts, tmp_path):
    batch("prompts.txt")
    prompts.write_text("a bear\nan owl\na hare\na fox\na hare\n")
    done = batch("prompts.txt", "--json")

    assert (done.json["drawn"], done.json["done_before"]) == (1, 4)
    assert len(images(tmp_path)) == 5


def test_another_folder_is_another_batch_unless_it_has_a_name(batch, prompts):
    batch("prompts.txt", "--output-dir", "a")
    batch("prompts.txt", "--name", "mine", "--output-dir", "a")

    assert batch("prompts.txt", "--output-dir", "b", "--json").json["drawn"] == 4
    assert batch("prompts.txt", "--name", "mine", "--output-dir", "b", "--json").json["drawn"] == 0


def test_the_same_file_by_another_path_is_the_same_batch(batch, prompts, tmp_path):
    batch("prompts.txt")
    (tmp_path / "link.txt").symlink_to(prompts)

    assert batch("./link.txt", "--json").json["done_before"] == 4


def test_rows_that_failed_are_named_by_their_line_and_end_with_4(batch, prompts, configure):
    configure(SETTINGS)
    done = batch("prompts.txt", backend="picky")

    assert done.code == 4
    assert "line 4: backend 'picky'" in done.err
    assert "1 of 4 could not be drawn" in done.err
    assert "imagen jobs ls --batch prompts --state failed" in done.err


def test_a_line_is_named_where_it_stands_now(batch, prompts, configure):
    configure(SETTINGS)
    batch("prompts.txt", backend="picky")
    prompts.write_text("# one\n# two\n# three\n# four\n" + prompts.read_text())
    done = batch("prompts.txt", "--json", backend="picky")

    assert [row["line"] for row in done.json["failures"]] == [8]


def test_rows_that_failed_before_are_left_alone_and_still_end_with_4(batch, prompts, configure):
    configure(SETTINGS)
    batch("prompts.txt", backend="picky")
    done = batch("prompts.txt", "--json", backend="picky")

    assert done.code == 4
    assert (done.json["failed"], done.json["failed_before"]) == (0, 1)
    assert "failed before, left alone" in done.err


def test_rows_that_failed_are_drawn_again_on_request(batch, prompts, configure):
    configure(SETTINGS)
    batch("prompts.txt", backend="picky")
    configure("backends:\n  picky: {type: mock}\n")
    done = batch("prompts.txt", "--retry-failed", backend="picky")

    assert done.code == 0


def test_standard_input_is_known_by_its_content(batch):
    first = batch("-", "--json", stdin=b"a hare\nan owl\n")
    again = batch("-", "--json", stdin=b"a hare\nan owl\n")

    assert first.json["name"] == "stdin"
    assert (first.json["drawn"], again.json["done_before"]) == (2, 2)


def test_the_json_answer_has_the_documented_keys(batch, prompts):
    assert set(batch("prompts.txt", "--json").json) == {
        *("name", "batch_id", "output_folder", "total", "drawn", "done_before", "failed"),
        *("failed_before", "left", "seconds", "warnings", "failures", "error"),
    }


def test_paths_are_printed_on_request(batch, prompts, tmp_path):
    done = batch("prompts.txt", "--print-paths")

    assert sorted(done.out.splitlines()) == [str(path) for path in images(tmp_path)]


def test_warnings_are_told_once_with_their_number(batch, tmp_path):
    (tmp_path / "nul.txt").write_bytes(b"a \x00hare\nan \x00owl\n")
    done = batch("nul.txt")

    assert done.code == 0
    assert done.err.count("warning:") == 1
    assert "(2 images)" in done.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no prompt"),
        (b"# only\n\n", "holds no prompt"),
        (b"fine\ncaf\xe9\n", "prompts.txt:2: not UTF-8"),
        (b"fine\n" + b"x" * 10_000_000, "prompts.txt:2: the line is longer"),
    ],
)
def test_a_bad_file_is_refused_whole(batch, imagen, prompts, content, said):
    prompts.write_bytes(content)
    done = batch("prompts.txt")

    assert done.code == 2
    assert said in done.err
    assert imagen("jobs", "ls").out == ""


def test_a_missing_file_and_a_folder_are_refused(batch, tmp_path):
    assert batch("nowhere.txt").code == 2
    assert "is a folder" in batch(str(tmp_path)).err


def test_wrong_options_are_told_once_and_before_any_line(batch, prompts, imagen):
    done = batch("prompts.txt", "--style", "nope")

    assert done.code == 2
    assert "line" not in done.err
    assert imagen("jobs", "ls").out == ""


def test_a_file_where_the_folder_should_be_is_refused_before_drawing(batch, prompts, imagen):
    done = batch("prompts.txt", "--output-dir", "prompts.txt/out")

    assert done.code == 2
    assert "is a file" in done.err
    assert imagen("jobs", "ls").out == ""


def test_rows_wait_instead_of_failing_where_the_backend_cannot_draw(batch, prompts, configure):
    configure("backends:\n  gone: {type: mock, unavailable: true}\n")
    done = batch("prompts.txt", "--json", backend="gone")

    assert done.code == 5
    assert (done.json["left"], done.json["failed"]) == (4, 0)
    assert "imagen batch prompts.txt" in done.err


def test_giving_up_ends_with_6_and_the_same_command_goes_on(batch, prompts, configure, tmp_path):
    configure("backends:\n  lazy: {type: mock, latency_ms: 60000}\n")
    given_up = batch("prompts.txt", "--timeout", "0.2", "--json", backend="lazy")
    configure("backends:\n  lazy: {type: mock}\n")
    done = batch("prompts.txt", "--json", backend="lazy")

    assert given_up.code == 6
    assert given_up.json["left"] == 4
    assert (done.code, done.json["drawn"]) == (0, 4)


def test_a_seed_and_options_hold_for_every_line(batch, imagen, prompts):
    batch("prompts.txt", "--seed", "5", "--opt", "palette=dawn", "--negative", "text")
    jobs = imagen("jobs", "ls", "--json").json["jobs"]

    assert {job["seed"] for job in jobs} == {5}


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.tsv", "fox.png.json", "fox.png"])
def test_a_file_of_another_format_is_refused_before_a_row_is_accepted(imagen, tmp_path, name):
    path = tmp_path / name
    path.write_text('{"prompt": "a fox"}\n')
    done = imagen("batch", str(path), "--backend", "mock")

    assert done.code == 2
    assert f"{name} is" in done.err
    assert "hint:" in done.err
    assert imagen("jobs", "ls", "--json").json["jobs"] == []
