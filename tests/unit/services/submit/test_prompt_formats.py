"""A batch file that is no list of prompts is refused: each of its lines would be paid for."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagen.errors import RequestError
from imagen.services.submit.prompt_file import open_prompts

ROWS = [{"prompt": "a red fox"}, {"prompt": "an owl\nat night"}]
TABLE = 'Prompt,Size\n"a red fox, asleep",64x64\nan owl,64x64\n'


def refusal(path: Path, content: str | bytes) -> RequestError:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RequestError) as refused, open_prompts(str(path), io.BytesIO()):
        raise AssertionError("it was accepted")
    assert refused.value.exit_code == 2
    return refused.value


def prompts_of(error: RequestError) -> list[str]:
    """What the command of the hint prints."""
    command = error.hint.removeprefix("draw its prompts: ").partition(" | imagen batch")[0]
    command = command.replace("python3 ", f"{sys.executable} ", 1)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("in.jsonl", json.dumps(ROWS[0]), "JSON lines"),
        ("in.ndjson", "{}", "JSON lines"),
        ("in.csv", TABLE, "a table (CSV)"),
        ("IN.CSV", "a fox", "a table (CSV)"),
        ("in.tsv", "Prompt\tSize\na fox\t64x64\n", "a table (TSV)"),
        ("in.json", json.dumps(ROWS), "a JSON document"),
        ("in.yaml", "- a fox\n", "a YAML document"),
        ("in.yml", "- a fox\n", "a YML document"),
        ("fox.png.json", json.dumps(ROWS[0]), "the sidecar of one image"),
        ("fox.png", b"\x89PNG\r\n\x1a\n", "an image"),
        ("fox.jpg", b"\xff\xd8\xff", "an image"),
        ("fox.webp", b"RIFF", "an image"),
        ("fox.svg", "<svg>", "an image"),
        ("in.xlsx", b"PK\x03\x04", "a ZIP archive"),
    ],
)
def test_another_format_is_refused_by_its_name(tmp_path, name, content, what):
    error = refusal(tmp_path / name, content)

    assert f"{name} is {what}" in error.message
    assert "one prompt a line" in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (f"# mine\n{json.dumps(ROWS[0])}\n", "JSON lines"),
        (TABLE, "a table (CSV)"),
        ("Prompt\tCategory\na fox\tAnimals\n", "a table (TSV)"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (b"%PDF-1.7", "a PDF"),
        ("<svg width='9'>\n<path d='M'/>\n", "an SVG image"),
        ("<?xml version='1.0'?>\n", "an XML document"),
    ],
)
def test_another_format_is_refused_by_its_content_whatever_its_name(tmp_path, content, what):
    assert f"prompts.txt is {what}" in refusal(tmp_path / "prompts.txt", content).message
    raw = content.encode() if isinstance(content, str) else content
    with (
        pytest.raises(RequestError, match=r"standard input is (an?|JSON)"),
        open_prompts("-", io.BytesIO(raw)),
    ):
        pass


@pytest.mark.parametrize("name", ["in put.csv", "in.tsv"])
def test_the_hint_for_a_table_prints_its_prompts(tmp_path, name):
    table = TABLE.replace(",S", "\tS").replace(",6", "\t6") if name == "in.tsv" else TABLE
    error = refusal(tmp_path / name, table)

    assert prompts_of(error) == ["a red fox, asleep", "an owl"]


def test_the_hint_for_json_lines_prints_each_prompt_on_one_line(tmp_path):
    error = refusal(tmp_path / "in.jsonl", "\n".join(map(json.dumps, ROWS)))

    assert """jq -r '.prompt | gsub("\\n"; " ")' """ in error.hint
    if shutil.which("jq"):
        assert prompts_of(error) == ["a red fox", "an owl at night"]


@pytest.mark.parametrize(
    "prompt",
    [
        '{"scene": "a fox", "style": "ink"}',
        "{curly} braces in a prompt",
        "a fox, an owl, prompt service",
        "prompt",
        "RIFle in an old photograph",
        "[a fox]",
    ],
)
def test_what_only_resembles_another_format_is_a_prompt(tmp_path, prompt):
    path = tmp_path / "prompts.txt"
    path.write_text(f"{prompt}\n")

    with open_prompts(str(path), io.BytesIO()) as prompts:
        assert [line.prompt for line in prompts.lines()] == [prompt]


def test_another_name_is_advised_only_where_it_would_help(tmp_path):
    assert "ends in .txt" in refusal(tmp_path / "in.csv", "a fox\nan owl\n").hint
    assert "ends in .txt" not in refusal(tmp_path / "in.csv", TABLE).hint
