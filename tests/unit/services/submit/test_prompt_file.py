"""The prompts of a file, whatever is in it."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path

import pytest

from imagen.errors import RequestError
from imagen.services.submit.prompt_file import open_prompts


def read(source: str, stdin: bytes = b"") -> list[tuple[int, int, str]]:
    with open_prompts(source, io.BytesIO(stdin)) as prompts:
        found = [(line.number, line.position, line.prompt) for line in prompts.lines()]
        assert len(found) == prompts.count
        return found


def written(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    return str(path)


def test_blank_lines_and_comments_are_skipped_and_numbers_kept(tmp_path: Path) -> None:
    source = written(tmp_path, b"# foxes\n\na red fox\n   \n  # more\n\tan owl \n")

    assert read(source) == [(3, 1, "a red fox"), (6, 2, "an owl")]


@pytest.mark.parametrize(
    "content",
    [
        b"a\nb",
        b"a\nb\n",
        b"a\r\nb\r\n",
        b"\xef\xbb\xbfa\nb\n",
        b"\xef\xbb\xbf# comment\na\n\n\nb",
    ],
    ids=["no last newline", "newline", "CRLF", "BOM", "BOM and comment"],
)
def test_how_lines_end_and_begin_does_not_matter(tmp_path: Path, content: bytes) -> None:
    assert [prompt for _, _, prompt in read(written(tmp_path, content))] == ["a", "b"]


def test_standard_input_is_read_like_a_file() -> None:
    assert read("-", b"a\nb\n") == [(1, 1, "a"), (2, 2, "b")]


def test_standard_input_may_be_larger_than_its_buffer() -> None:
    assert len(read("-", b"a red fox jumps over it\n" * 60_000)) == 60_000


def test_the_file_may_be_read_more_than_once(tmp_path: Path) -> None:
    with open_prompts(written(tmp_path, b"a\nb\n"), io.BytesIO()) as prompts:
        assert list(prompts.lines()) == list(prompts.lines())


@pytest.mark.parametrize(
    "prompt", ["מַזֶה שׁוּעָל", "🦊🧑‍🚀", "{seed} %s $HOME `id`", "../../etc/passwd"]
)
def test_any_text_is_a_prompt(tmp_path: Path, prompt: str) -> None:
    assert read(written(tmp_path, prompt.encode())) == [(1, 1, prompt)]


def refuse(source: str, says: str, stdin: bytes = b"") -> None:
    with pytest.raises(RequestError, match=says) as caught:
        read(source, stdin)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only\n# comments\n", b"\xef\xbb\xbf"])
def test_a_file_without_prompts_is_refused(tmp_path: Path, content: bytes) -> None:
    refuse(written(tmp_path, content), "holds no prompt")


def test_an_empty_standard_input_is_called_by_its_name() -> None:
    refuse("-", "standard input holds no prompt")


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    source = written(tmp_path, b"fine\n# fine\ncaf\xe9\n")

    refuse(source, re.escape(f"{source}:3: not UTF-8 (byte 4"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    refuse(written(tmp_path, "a red fox\n".encode(encoding)), ":1: not UTF-8")


def test_a_lone_surrogate_is_refused(tmp_path: Path) -> None:
    refuse(written(tmp_path, b"fox \xed\xb0\x80\n"), ":1: not UTF-8")


def test_a_line_of_ten_megabytes_is_refused_unread(tmp_path: Path) -> None:
    refuse(written(tmp_path, b"fine\n" + b"x" * 10_000_000), ":2: the line is longer")


def test_a_prompt_of_the_limit_is_taken_and_one_byte_more_refused(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, b"  " + b"x" * 32_000 + b"  \n"))) == 1

    refuse(written(tmp_path, b"x" * 32_001), ":1: the prompt is longer than 32,000 bytes")


def test_a_prompt_of_nothing_that_can_be_stored_is_refused(tmp_path: Path) -> None:
    refuse(written(tmp_path, b"a\n\x00\x00\n"), ":2: the prompt is blank")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refuse(str(tmp_path / "gone.txt"), "gone.txt: No such file")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refuse(str(tmp_path), "is a folder")


def test_a_pipe_is_refused_with_what_to_type_instead(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b""))
    writer.start()

    with pytest.raises(RequestError, match="cannot be read twice") as caught:
        read(str(path))

    writer.join()
    assert "imagen batch -" in caught.value.hint


def test_the_same_content_has_the_same_hash(tmp_path: Path) -> None:
    with (
        open_prompts(written(tmp_path, b"a\n"), io.BytesIO()) as file,
        open_prompts("-", io.BytesIO(b"a\n")) as stdin,
        open_prompts("-", io.BytesIO(b"b\n")) as other,
    ):
        assert file.sha256 == stdin.sha256 != other.sha256


def test_a_file_above_the_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    with path.open("wb") as file:
        file.truncate(512 * 2**20 + 1)

    with pytest.raises(RequestError, match=r"larger than 512 MiB, the most that a batch reads"):
        read(str(path))


def test_standard_input_above_the_bound_is_refused_before_all_of_it_is_kept() -> None:
    stdin = io.BytesIO(b"a red fox\n" * 500_000)

    with pytest.raises(RequestError, match="standard input is larger than 1 MiB"):
        open_prompts("-", stdin, max_bytes=2**20).__enter__()
    assert stdin.tell() <= 2 * 2**20


def test_a_device_is_no_file_of_prompts() -> None:
    with pytest.raises(RequestError, match="/dev/zero is a device"):
        read("/dev/zero")


@pytest.mark.parametrize("content", [b"a\rb\rc", b"a\nb\rc\n", b"# foxes\ra\rb", b"x\r" * 99_999])
def test_lone_carriage_returns_are_refused_with_what_converts_them(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(RequestError, match="carriage return, which ends no line") as refused:
        read(written(tmp_path, content))

    assert "tr '\\r' '\\n' <" in refused.value.hint
