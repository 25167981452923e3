"""Standard streams that are full, closed or broken: one line, an exit code, and no image lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagen.cli.screen.error_lines import EXIT_BROKEN_PIPE, EXIT_OUTPUT_FAILED

MOCK = ("--backend", "mock", "--size", "64x64")
GENERATE = ("generate", "a fox", *MOCK)
#: What is done to which descriptor.
Streams = dict[int, str]
OUTPUTS: dict[str, Streams] = {
    "full": {1: "full"},
    "closed": {1: "closed"},
    "broken": {1: "broken"},
    "closed like stdin": {0: "closed", 1: "closed"},
}
CODES = {"broken": EXIT_BROKEN_PIPE}


def typed(*words: str, streams: Streams, env: dict[str, str] | None = None) -> Any:
    """The command as a shell runs it with such streams."""
    reader, writer = os.pipe()
    os.close(reader)

    def redirect() -> None:
        for descriptor, how in streams.items():
            if how == "closed":
                os.close(descriptor)
            elif how == "broken":
                os.dup2(writer, descriptor)
            else:
                os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)

    try:
        return subprocess.run(
            [sys.executable, "-m", "imagen", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **(env or {})},
            preexec_fn=redirect,  # this is about descriptors that are closed
            check=False,
        )
    finally:
        os.close(writer)


def the_job(imagen: Any) -> dict[str, Any]:
    (job,) = imagen("jobs", "ls", "--json").json["jobs"]
    found: dict[str, Any] = job
    return found


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize("how", OUTPUTS)
def test_an_image_whose_path_cannot_be_written_is_kept_and_named_on_stderr(
    imagen: Any, how: str, more: tuple[str, ...]
) -> None:
    done = typed(*GENERATE, *more, streams=OUTPUTS[how])

    job = the_job(imagen)
    assert job["state"] == "succeeded"
    assert Path(job["path"]).exists()
    assert done.returncode == CODES.get(how, EXIT_OUTPUT_FAILED)
    first, *others = done.stderr.splitlines()
    assert first == f"the image is there: {job['path']}"
    assert len(others) == (0 if how == "broken" else 1)


COMPLETE = {"_IMAGEN_COMPLETE": "bash_complete", "COMP_WORDS": "imagen ", "COMP_CWORD": "1"}
#: How each kind of answer is written: by us, by click's help, by its completion, and in many parts.
ANSWERS: list[tuple[tuple[str, ...], dict[str, str]]] = [
    (("jobs", "ls"), {}),
    (("--help",), {}),
    ((), COMPLETE),
    (("usage", "--raw", "--json"), {}),
]
MORE_ANSWERS: list[tuple[tuple[str, ...], dict[str, str]]] = [
    (("jobs", "show", "@ID"), {}),
    (("doctor", "--json"), {}),
    (("generate", "--json"), {}),
    (("--version",), {}),
    ((), {"_IMAGEN_COMPLETE": "bash_source"}),
]


@pytest.mark.parametrize(
    ("how", "words", "env"),
    [
        *(("full", *answer) for answer in ANSWERS + MORE_ANSWERS),
        *((how, *answer) for how in ("closed", "broken") for answer in ANSWERS),
    ],
)
def test_an_answer_that_cannot_be_written_is_one_line_and_an_exit_code(
    draw: Any, how: str, words: tuple[str, ...], env: dict[str, str]
) -> None:
    job_id = draw("a fox", "--json").json["id"]
    words = tuple(word.replace("@ID", job_id) for word in words)
    done = typed(*words, streams=OUTPUTS[how], env=env)

    assert done.returncode == CODES.get(how, EXIT_OUTPUT_FAILED)
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    why = [line for line in done.stderr.splitlines() if "standard output" in line]
    assert len(why) == (0 if how == "broken" else 1)


@pytest.mark.parametrize("how", ["full", "broken"])
def test_a_batch_whose_paths_cannot_be_written_stops_and_goes_on_when_run_again(
    imagen: Any, tmp_path: Path, how: str
) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"fox {n}\n" for n in range(40)))
    words = ("batch", "prompts.txt", *MOCK, "--print-paths", "--json")[:-1]
    done = typed(*words, streams=OUTPUTS[how])

    assert done.returncode == CODES.get(how, EXIT_OUTPUT_FAILED)
    assert "the image is there: " in done.stderr
    assert "bug" not in done.stderr
    assert "Error" not in done.stderr
    again = imagen("batch", "prompts.txt", *MOCK, "--json").json
    assert again["failed"] == again["left"] == 0
    assert again["drawn"] + again["done_before"] == 40


@pytest.mark.parametrize("how", ["full", "closed", "broken"])
def test_messages_that_cannot_be_written_change_nothing(imagen: Any, how: str) -> None:
    done = typed(*GENERATE, streams={2: how})
    job = the_job(imagen)

    assert (done.returncode, done.stdout) == (0, f"{job['path']}\n")
    refused = typed("generate", streams={2: how})
    assert (refused.returncode, refused.stdout) == (2, "")


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_a_standard_input_that_is_closed_cannot_hold_a_prompt(command: str) -> None:
    done = typed(command, "-", *MOCK, streams={0: "closed"})

    assert done.returncode == 2
    assert "standard input cannot be read: it is closed" in done.stderr


def test_a_command_needs_no_standard_input() -> None:
    done = typed(*GENERATE, "--json", streams={0: "closed"})

    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "succeeded"


def test_with_every_stream_closed_no_file_of_ours_becomes_one(imagen: Any) -> None:
    done = typed(*GENERATE, "--json", streams=dict.fromkeys((0, 1, 2), "closed"))

    assert done.returncode == EXIT_OUTPUT_FAILED
    assert the_job(imagen)["state"] == "succeeded"
