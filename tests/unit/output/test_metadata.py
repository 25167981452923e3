"""An image says where it comes from, in every format, without a pixel changed."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from imagen.images.containers import jpeg, png, webp
from imagen.images.verify import inspect_image
from imagen.output import metadata
from imagen.output.metadata import Mode
from imagen.output.metadata.record import write_record
from imagen.output.metadata.xmp import write_xmp
from imagen.output.provenance import Provenance

Maker = Callable[..., Any]
FORMATS = ("png", "jpeg", "webp")
MODES: tuple[Mode, ...] = ("full", "safe", "none")
AWKWARD_PROMPT = 'fox <b>&amp; "quotes" ]]> \x01\x7f\x85\ufffe 狐 🦊 \ud83e'


def embed(data: bytes, record: dict[str, Any], mode: Mode = "full") -> bytes:
    return metadata.embed(data, inspect_image(data), record, mode=mode)


def pixel_parts(data: bytes) -> list[bytes]:
    """The encoded pixels as they stand in the file."""
    info = inspect_image(data)
    if info.format == "png":
        return [chunk.body(data) for chunk in png.walk(data) if chunk.kind == b"IDAT"]
    if info.format == "webp":
        kinds = (b"VP8 ", b"VP8L", b"ALPH")
        return [chunk.body(data) for chunk in webp.walk(data) if chunk.kind in kinds]
    *_, scan = jpeg.walk(data)
    return [data[scan.start : jpeg.find_end(data)]]


@pytest.fixture
def record(make_provenance: Callable[..., Provenance]) -> dict[str, Any]:
    return make_provenance().record


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_pixels_stay_the_same_to_the_byte(
    make_image: Maker, record: dict[str, Any], image_format: str, mode: Mode
) -> None:
    data = make_image(image_format)

    embedded = embed(data, record, mode)

    assert inspect_image(embedded) == inspect_image(data)
    assert pixel_parts(embedded) == pixel_parts(data)


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_whole_record_is_read_back(
    make_image: Maker, record: dict[str, Any], image_format: str
) -> None:
    assert metadata.read(embed(make_image(image_format), record)) == record


@pytest.mark.parametrize("image_format", FORMATS)
def test_any_prompt_is_read_back(
    make_image: Maker, make_provenance: Callable[..., Provenance], image_format: str
) -> None:
    request = {"prompt": AWKWARD_PROMPT.replace("\ud83e", ""), "styled_prompt": AWKWARD_PROMPT}
    record = make_provenance(request=request).record

    embedded = embed(make_image(image_format), record)

    assert metadata.read(embedded) == record
    assert inspect_image(embedded)


@pytest.mark.parametrize("options", [{"lossless": True}, {"mode": "RGBA"}, {"quality": 40}])
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_webp_takes_a_record(
    make_image: Maker, record: dict[str, Any], options: dict[str, Any], mode: Mode
) -> None:
    data = make_image("webp", **options)

    embedded = embed(data, record, mode)

    assert decode(embedded) == decode(data)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_embedding_again_replaces(
    make_image: Maker, record: dict[str, Any], image_format: str, mode: Mode
) -> None:
    data = make_image(image_format)
    once = embed(data, record, mode)

    assert embed(once, record, mode) == once
    assert embed(data, record, mode) == once
    assert embed(embed(data, record | {"prompt": "older"}), record) == embed(data, record)


@pytest.mark.parametrize("image_format", FORMATS)
def test_safe_holds_the_job_but_no_word_of_the_user(
    make_image: Maker, record: dict[str, Any], image_format: str
) -> None:
    embedded = embed(make_image(image_format), record, "safe")

    kept = metadata.read(embedded)
    assert kept is not None
    assert kept["job_id"] == record["job_id"]
    assert kept["seed"] == 7
    assert not mentions_fox(embedded)
    assert b"watermark" not in embedded


@pytest.mark.parametrize("image_format", FORMATS)
def test_none_holds_nothing(make_image: Maker, record: dict[str, Any], image_format: str) -> None:
    embedded = embed(embed(make_image(image_format), record), record, "none")

    assert metadata.read(embedded) is None
    assert b"imagen" not in embedded
    assert not mentions_fox(embedded)


@pytest.mark.parametrize("mode", ["safe", "none"])
def test_texts_of_the_server_are_taken_out_of_a_png(
    make_image: Maker, record: dict[str, Any], mode: Mode
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", '{"6": {"inputs": {"text": "a red fox"}}}')
    texts.add_text("workflow", "a red fox " * 100, zip=True)
    texts.add_itxt("Comment", "a red fox")
    data = make_image("png", pnginfo=texts, dpi=(72, 72), exif=_exif_with_fox())

    embedded = embed(data + b"a red fox", record, mode)

    kinds = {chunk.kind for chunk in png.walk(embedded)} - {b"iTXt", b"tEXt"}
    assert kinds == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert not mentions_fox(embedded)


@pytest.mark.parametrize("mode", ["safe", "none"])
@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_texts_of_the_server_are_taken_out_of_other_formats(
    make_image: Maker, record: dict[str, Any], image_format: str, mode: Mode
) -> None:
    comment = {"comment": b"a red fox"} if image_format == "jpeg" else {}
    data = make_image(image_format, exif=_exif_with_fox(), xmp=b"<x>a red fox</x>", **comment)

    embedded = embed(data + b"a red fox\xff\xd9", record, mode)

    assert not mentions_fox(embedded)
    assert decode(embedded) == decode(data)


def test_full_keeps_the_workflow_that_comfyui_can_load(
    make_image: Maker, record: dict[str, Any]
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", '{"nodes": []}')

    embedded = embed(make_image("png", pnginfo=texts), record)

    assert Image.open(io.BytesIO(embedded)).info["workflow"] == '{"nodes": []}'


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", ["full", "safe"])
def test_xmp_says_that_a_model_made_it(
    make_image: Maker, record: dict[str, Any], image_format: str, mode: Mode
) -> None:
    image = Image.open(io.BytesIO(embed(make_image(image_format), record, mode)))

    packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    assert b"digitalsourcetype/trainedAlgorithmicMedia<" in packet
    assert (b"AIPromptInformation>a red fox<" in packet) == (mode == "full")


def test_xmp_is_well_formed_whatever_the_prompt(record: dict[str, Any]) -> None:
    record |= {"prompt": AWKWARD_PROMPT, "model": "<&>"}

    packet = write_xmp(record, embedded=write_record(record, fits=lambda _text: True))

    assert ElementTree.fromstring(packet.decode().removeprefix("\ufeff")).tag.endswith("xmpmeta")


def test_a_png_has_parameters_as_other_tools_write_them(
    make_image: Maker, record: dict[str, Any]
) -> None:
    image = Image.open(io.BytesIO(embed(make_image("png"), record)))

    assert image.info["parameters"].splitlines() == [
        "a red fox, soft light",
        "Negative prompt: text, watermark",
        f"Steps: 20, Seed: 7, Size: 40x24, Model: flux1-dev.safetensors, "
        f"Version: imagen {record['imagen']}",
    ]


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_other_formats_have_parameters_as_a_comment(
    make_image: Maker, record: dict[str, Any], image_format: str
) -> None:
    record["drawn_prompt"] = "狐 🦊"

    exif = Image.open(io.BytesIO(embed(make_image(image_format), record))).getexif()

    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be").startswith("狐 🦊\nNegative prompt: text")


def test_parameters_beyond_latin_1_are_written_all_the_same(
    make_image: Maker, record: dict[str, Any]
) -> None:
    record["drawn_prompt"] = "狐"

    image = Image.open(io.BytesIO(embed(make_image("png"), record)))

    assert image.info["parameters"].startswith("狐\n")


def test_a_value_that_would_break_the_parameters_line_is_quoted(
    make_image: Maker, record: dict[str, Any]
) -> None:
    record["model"] = "flux: dev, fp8"

    image = Image.open(io.BytesIO(embed(make_image("png"), record)))

    assert 'Model: "flux: dev, fp8", Version' in image.info["parameters"]


def test_what_a_jpeg_cannot_hold_is_left_out_by_name(
    make_image: Maker, make_provenance: Callable[..., Provenance]
) -> None:
    prompt = "<fox> " * 5_300
    request = {"prompt": prompt, "styled_prompt": prompt}
    record = make_provenance(request=request, details={"workflow": "x" * 90_000}).record

    kept = metadata.read(embed(make_image("jpeg"), record))

    assert kept is not None
    assert kept["prompt"] == prompt
    assert kept["left_out"] == ["details", "options", "drawn_prompt"]


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_other_formats_hold_the_longest_prompt(
    make_image: Maker, make_provenance: Callable[..., Provenance], image_format: str
) -> None:
    prompt = "狐" * 10_600
    record = make_provenance(request={"prompt": prompt, "styled_prompt": prompt}).record

    assert metadata.read(embed(make_image(image_format), record)) == record


def test_a_record_survives_a_tool_that_compresses_texts(
    make_image: Maker, record: dict[str, Any]
) -> None:
    data = embed(make_image("png"), record)
    text = Image.open(io.BytesIO(data)).info["imagen"]
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("imagen", text, zip=True)

    assert metadata.read(make_image("png", pnginfo=texts)) == record


def test_a_record_survives_a_tool_that_rewrites_xmp(
    make_image: Maker, record: dict[str, Any]
) -> None:
    text = str({"job_id": "1"}).replace("'", "&quot;")
    packet = f'<rdf:Description imagen:record="{text}" xmp:CreatorTool="x"/>'.encode()

    assert metadata.read(make_image("jpeg", xmp=packet)) == {"job_id": "1"}


def test_a_text_bomb_is_not_unpacked(make_image: Maker) -> None:
    packed = zlib.compress(b'{"job_id":"' + b"x" * 50_000_000 + b'"}')
    bomb = png.make_chunk(b"zTXt", b"imagen\0\0" + packed)
    data = png.rebuild(make_image("png"), keep=lambda _chunk: True, extra=bomb)

    assert metadata.read(data) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", "[" * 100_000, "9" * 10_000])
def test_a_text_that_is_no_record_is_none(make_image: Maker, text: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("imagen", text)

    assert metadata.read(make_image("png", pnginfo=texts)) is None


@pytest.mark.parametrize(
    "data", [b"", b"text", png.SIGNATURE, b"\xff\xd8\xff\xe1", b"RIFF0000WEBP"]
)
def test_what_is_no_image_says_nothing(data: bytes) -> None:
    assert metadata.read(data) is None


@given(st.data())
def test_no_damage_makes_reading_fail(data: st.DataObject) -> None:
    image_format = data.draw(st.sampled_from(FORMATS))
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, image_format.upper())
    broken = bytearray(embed(buffer.getvalue(), {"job_id": "1", "prompt": "fox"}))
    for _ in range(3):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))

    found = metadata.read(bytes(broken[: data.draw(st.integers(0, len(broken)))]))

    assert found is None or "job_id" in found


def decode(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()


def mentions_fox(data: bytes) -> bool:
    packed = [
        zlib.decompress(chunk.body(data).split(b"\0\0", 1)[1])
        for chunk in (png.walk(data) if data.startswith(png.SIGNATURE) else ())
        if chunk.kind == b"zTXt"
    ]
    return any(
        "fox".encode(code) in text for text in (data, *packed) for code in ("ascii", "utf-16-be")
    )


def _exif_with_fox() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a red fox"
    return exif.tobytes()


@pytest.mark.parametrize("origin_format", ["png", "webp"])
def test_a_webp_keeps_comfyuis_graph_where_comfyui_itself_writes_it(
    make_image: Maker, record: dict[str, Any], origin_format: str
) -> None:
    graph = '{"6": {"inputs": {"text": "f\\u00fcr 🦊"}}}'
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = 'workflow:{"nodes": []}', f"prompt:{json_in_ascii(graph)}"
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("prompt", graph)
    texts.add_text("workflow", '{"nodes": []}')
    options = {"pnginfo": texts} if origin_format == "png" else {"exif": exif}
    origin, converted = make_image(origin_format, **options), make_image("webp")

    embedded = metadata.embed(
        converted, inspect_image(converted), record, mode="full", origin=origin
    )
    again = metadata.embed(embedded, inspect_image(embedded), record, mode="full")

    with Image.open(io.BytesIO(embedded)) as image:
        written = image.getexif()
        assert written[0x0110] == f"prompt:{json_in_ascii(graph)}"
        assert written[0x010F] == 'workflow:{"nodes": []}'
        assert written.get_ifd(0x8769)[0x9286].startswith(b"UNICODE")
    assert again == embedded
    assert metadata.read(embedded) == record


@pytest.mark.parametrize("mode", ["safe", "none"])
def test_a_webp_without_the_prompt_has_no_graph_either(
    make_image: Maker, record: dict[str, Any], mode: Mode
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", '{"6": {"inputs": {"text": "secret wish"}}}')
    converted = make_image("webp")

    embedded = metadata.embed(
        converted,
        inspect_image(converted),
        record,
        mode=mode,
        origin=make_image("png", pnginfo=texts),
    )

    assert b"secret wish" not in embedded


def json_in_ascii(text: str) -> str:
    return text.encode("ascii", "namereplace").decode().replace("\\N{FOX FACE}", "\\ud83e\\udd8a")
