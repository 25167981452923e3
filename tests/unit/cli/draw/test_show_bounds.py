"""``imagen show`` reads any file with little memory and little work, however it was made."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.images.containers import jpeg, png, webp
from imagen.output.metadata import record as records
from imagen.output.metadata.exif import read_exif, write_exif
from imagen.output.metadata.foreign import parse_parameters, read_texts
from imagen.output.metadata.png_texts import find_named, find_texts

MOST_MEMORY_KB = 200 * 1024
#: The command as a user runs it, which then says how much memory it had: of this program alone, as
#: a child's ru_maxrss counts that of its parent, too.
SHOW = """
import sys
from imagen.cli.main import run
from imagen.cli.shell import open_shell
code = run(["show", *sys.argv[1:]], open_shell())
print(open("/proc/self/status").read(), file=sys.stderr)
sys.exit(code)
"""
#: What reading one file may unpack, with a step to spare.
MOST_UNPACKED = records.MAX_TEXT_BYTES + 256 * 1024

Maker = Callable[[], bytes]


def picture(image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), "teal").save(buffer, image_format)
    return buffer.getvalue()


def with_chunks(chunks: bytes) -> bytes:
    image = picture()
    return image[:33] + chunks + image[33:]


def zipped(kind: bytes, key: bytes, text: bytes) -> bytes:
    head = b"\0\0" if kind == b"zTXt" else b"\0\1\0\0\0"
    return png.make_chunk(kind, key + head + zlib.compress(text, 9))


def damaged(text: bytes) -> bytes:
    """A chunk that can be unpacked but for its last bytes."""
    return png.make_chunk(b"zTXt", b"imagen\0\0" + zlib.compress(text, 9)[:-4] + b"oops")


def with_segments(segments: bytes) -> bytes:
    image = picture("JPEG")
    return image[:2] + segments + image[2:]


def with_webp_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    image = picture("WEBP")
    return webp.assemble([*((c.kind, c.body(image)) for c in webp.walk(image)), *chunks])


def overlapping_exif(number: int, size: int) -> bytes:
    """A directory of many entries that all have the same large value."""
    entries = b"".join(
        struct.pack("<HHLL", tag, 7, size, 8) for tag in [0x8769, *range(0x010E, 0x010E + number)]
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", number) + entries + b"\0" * size


BOMBS: dict[str, Maker] = {
    "a thousand zTXt of a megabyte under each key": lambda: with_chunks(
        b"".join(
            zipped(b"zTXt", key, b"a" * 2**20) * 1_000
            for key in (b"imagen", b"parameters", b"Comment")
        )
    ),
    "three thousand iTXt of 8 MB": lambda: with_chunks(
        zipped(b"iTXt", b"imagen", b"a" * 2**23) * 3_000
    ),
    "zTXt that end damaged": lambda: with_chunks(damaged(b"a" * 2**23) * 1_000),
    "a record of a million empty objects": lambda: with_chunks(
        zipped(b"iTXt", b"imagen", b'{"job_id":[' + b"{}," * 690_000 + b"{}]}")
    ),
    "a graph of empty objects": lambda: with_chunks(
        zipped(b"iTXt", b"prompt", b'{"1":{"inputs":{"text":[' + b"{}," * 1_300_000 + b"{}]}}}")
    ),
    "deep JSON": lambda: with_chunks(zipped(b"iTXt", b"prompt", b"[" * 4_000_000)),
    "parameters without a colon": lambda: with_chunks(
        png.make_chunk(b"tEXt", b"parameters\0Steps: 1" + b"a" * 7_000_000)
    ),
    "parameters of quotes": lambda: with_chunks(
        png.make_chunk(b"tEXt", b"parameters\0Steps: 1," + b'a:"\\",' * 1_000_000)
    ),
    "a prompt of line ends beside a long name": lambda: with_chunks(
        zipped(b"zTXt", b"parameters", b"a\n" * 3_500_000 + b"Steps: 1, " + b"n" * 99 + b": 2")
    ),
    "a million chunks": lambda: with_chunks(png.make_chunk(b"tEXt", b"a\0") * 1_000_000),
    "two million segments": lambda: with_segments(jpeg.make_segment(jpeg.COMMENT, b"") * 2_000_000),
    "fill bytes": lambda: with_segments(b"\xff" * 100_000_000),
    "XMP in every segment": lambda: with_segments(
        jpeg.make_segment(
            jpeg.APP1, b"http://ns.adobe.com/xap/1.0/\0" + b" imagen:record='" * 4_000
        )
        * 1_500
    ),
    "XMP of references": lambda: with_webp_chunks(
        (b"XMP ", b"<imagen:record>" + b"&lt;" * 2_000_000 + b"</imagen:record>")
    ),
    "EXIF whose entries all share one value": lambda: with_webp_chunks(
        (b"EXIF", overlapping_exif(60_000, 60_000_000))
    ),
    "EXIF in a PNG whose entries all share one value": lambda: with_chunks(
        png.make_chunk(b"eXIf", overlapping_exif(60_000, 6_000_000))
    ),
    "a hundred large XMP": lambda: with_webp_chunks(*[(b"XMP ", b" imagen:re" * 100_000)] * 100),
    "a file of 120 MB": lambda: picture() + b"\0" * 120_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_showing_any_file_takes_less_than_200_mb(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())

    for more in ([], ["--json"]):
        with (tmp_path / "answer").open("wb") as answer:
            done = subprocess.run(
                [sys.executable, "-c", SHOW, str(path), *more],
                stdout=answer,
                stderr=subprocess.PIPE,
                check=False,
            )

        used = re.search(rb"VmHWM:\s*([0-9]+) kB", done.stderr)
        assert done.returncode in (0, 2), done.stderr
        assert b"bug" not in done.stderr
        assert used is not None
        assert int(used[1]) < MOST_MEMORY_KB
    path.unlink()


@pytest.mark.parametrize("text", [b"a" * 2**20, b"a" * 2**23 + b"b"])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_all_texts_of_a_file_together_unpack_to_no_more_than_one_bound(
    monkeypatch: pytest.MonkeyPatch, text: bytes, is_damaged: bool
) -> None:
    unpacked = 0
    make = zlib.decompressobj

    class Counted:
        def __init__(self) -> None:
            self._real = make()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal unpacked
            unpacked += most
            return self._real.decompress(data, most)

    chunk = damaged(text) if is_damaged else zipped(b"zTXt", b"imagen", text)
    data = with_chunks(chunk * 1_000)
    monkeypatch.setattr("zlib.decompressobj", Counted)
    find_texts(data)

    assert unpacked <= MOST_UNPACKED


def test_honest_texts_have_room_beside_each_other() -> None:
    data = with_chunks(
        zipped(b"iTXt", b"workflow", b'{"a": 1}' * 100_000)
        + zipped(b"iTXt", b"prompt", b'{"b": 2}' * 100_000)
        + zipped(b"zTXt", b"parameters", b"a fox\nSteps: 4")
    )

    texts = find_named(data, ("parameters", "prompt", "workflow"))

    assert len(texts["workflow"]) == len(texts["prompt"]) == 800_000
    assert texts["parameters"] == "a fox\nSteps: 4"


def test_exif_that_imagemagick_wrote_into_a_png_is_read() -> None:
    block = b"Exif\0\0" + write_exif("a fox\nSteps: 4")
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    data = with_chunks(zipped(b"zTXt", b"Raw profile type exif", text))

    assert read_texts(data)["parameters"] == "a fox\nSteps: 4"


@pytest.mark.parametrize("cut", range(0, 90))
def test_a_damaged_exif_block_has_no_texts(cut: int) -> None:
    block = write_exif("a fox")

    assert read_exif(block[:cut], (0x9286,)).get(0x9286, b"") in (b"", block[-18:])


def test_parameters_are_read_around_what_is_no_pair() -> None:
    text = 'a fox\nSteps: 4, nonsense, Lora: "a: b, c", Bad: "open, Seed: 7'

    assert parse_parameters(text) == {
        "prompt": "a fox",
        "Steps": "4",
        "Lora": "a: b, c",
        "Bad": '"open',
        "Seed": "7",
    }


def test_a_lone_surrogate_is_shown_by_its_escape(imagen: Any, tmp_path: Path) -> None:
    graph = {"1": {"inputs": {"seed": 7, "positive": ["2", 0]}}, "2": {"inputs": {"text": "a fox"}}}
    text = json.dumps(graph).replace("a fox", "a \\ud83d fox").encode()
    (tmp_path / "odd.png").write_bytes(with_chunks(png.make_chunk(b"tEXt", b"prompt\0" + text)))

    shown = imagen("show", "odd.png")
    facts = imagen("show", "odd.png", "--json")

    assert (shown.code, facts.code) == (0, 0)
    assert "a \\ud83d fox" in shown.out
    assert "\\ud83d" in facts.out
    assert facts.json["record"]["prompt"] == "a \ud83d fox"
