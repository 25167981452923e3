"""Everything about a request that is settled before it is accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.domain.job import Lane
from imagen.domain.size import Size
from imagen.domain.style import Style
from imagen.errors import RequestError
from imagen.output.paths import check_target
from imagen.services.submit.resolve import (
    BatchRow,
    RequestInput,
    SubmitContext,
    draw_seed,
    make_draft,
    resolve,
)

NOW = datetime(2026, 9, 6, 14, 3, 5)  # noqa: DTZ001  (the submitting shell's local time)
STYLES = {
    "header": Style(
        "header",
        prefix="photo of ",
        suffix=", wide",
        negative="text",
        size=Size(1536, 768),
        steps=9,
        backend="other",
    ),
}


def style_of(name: str) -> Style:
    if name not in STYLES:
        raise RequestError(f"unknown style {name!r}", "styles: header")
    return STYLES[name]


CONTEXT = SubmitContext(
    default_backend="mock",
    style_of=style_of,
    output_folder=Path("/pictures"),
    naming="{date}-{time}-{slug}-{seed}.{ext}",
    format="png",
    sidecar=True,
    metadata="full",
    caller="tests",
    delivery_host="here",
    owner_user_id="somebody",
    sync="auto",
)


@pytest.fixture
def backends(sqlite_studio: Any, make_backend: Any) -> Any:
    sqlite_studio.backends.by_name["other"] = make_backend()
    return sqlite_studio.backends


@pytest.fixture
def drafted(backends: Any) -> Any:
    """A function from the input to the draft."""

    def make_it(prompt: str = "a red fox", context: SubmitContext = CONTEXT, **asked: Any) -> Any:
        batch_row = asked.pop("batch_row", None)
        request_input = RequestInput(prompt, **asked)
        return make_draft(
            resolve(request_input, context, backends),
            request_input,
            context,
            now=NOW,
            batch_row=batch_row,
        )

    return make_it


def test_what_is_not_asked_for_is_the_default(drafted: Any) -> None:
    draft = drafted()

    assert (draft.request.width, draft.request.height) == (1024, 1024)
    assert (draft.backend, draft.queue, draft.lane) == ("mock", "gpu", Lane.INTERACTIVE)
    assert (draft.caller, draft.delivery_host) == ("tests", "here")
    assert (draft.owner_user_id, draft.sync) == ("somebody", "auto")
    assert draft.output.folder == "/pictures"
    assert draft.output.name == f"2026-09-06-140305-a-red-fox-{draft.request.seed}.{{ext}}"
    assert not draft.output.replace


@pytest.mark.parametrize(
    "size",
    ["0x0", "99999x1", "10x", "x", "63x64", "64x4097", "64 64", "-64x64", "64x64x64", "٦٤x٦٤"],
)
def test_a_size_that_cannot_be_is_refused(drafted: Any, size: str) -> None:
    with pytest.raises(RequestError, match="size") as caught:
        drafted(size=size)

    assert "--size" in caught.value.hint


@pytest.mark.parametrize("size", ["64x64", "4096x4096", " 64X4096 "])
def test_the_smallest_and_the_largest_size_are_taken(drafted: Any, size: str) -> None:
    request = drafted(size=size).request

    assert str(request.size) == size.strip().lower()


def test_a_seed_that_is_not_asked_for_is_drawn_now(drafted: Any) -> None:
    seeds = {drafted(seed=0).request.seed for _ in range(50)}

    assert len(seeds) > 45
    assert all(1 <= seed <= 2**32 - 1 for seed in seeds)


def test_a_drawn_seed_is_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _limit: 0)
    assert draw_seed() == 1
    monkeypatch.setattr("secrets.randbelow", lambda limit: limit - 1)
    assert draw_seed() == 2**32 - 1


@pytest.mark.parametrize("seed", [1, 2**32, 2**63 - 1])
def test_an_asked_seed_is_kept_and_survives_the_ledger(drafted: Any, desk: Any, seed: int) -> None:
    from imagen.ledger.jobs.submit import submit_job

    draft = drafted(seed=seed)
    submit_job(desk.ledger, draft)

    assert desk.job(draft.id).request.seed == seed
    claim = desk.must_claim()
    desk.generate(claim)
    assert desk.attempts(draft.id)[0].seed == seed


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(drafted: Any, seed: int) -> None:
    with pytest.raises(RequestError, match=f"seed {seed} is outside"):
        drafted(seed=seed)


def test_negative_steps_are_refused(drafted: Any) -> None:
    with pytest.raises(RequestError, match="steps -1 is negative"):
        drafted(steps=-1)


def test_a_style_dresses_the_prompt_and_fills_in_the_rest(drafted: Any) -> None:
    draft = drafted(style="header")

    request = draft.request
    assert request.styled_prompt == "photo of a red fox, wide"
    assert request.prompt == "a red fox"
    assert (request.negative, request.steps, request.style) == ("text", 9, "header")
    assert (request.width, request.height) == (1536, 768)
    assert draft.backend == "other"


def test_flags_win_over_a_style(drafted: Any) -> None:
    draft = drafted(style="header", size="64x128", steps=2, negative="dogs", backend="mock")

    request = draft.request
    assert (request.negative, request.steps, draft.backend) == ("dogs", 2, "mock")
    assert (request.width, request.height) == (64, 128)


def test_an_unknown_style_or_backend_is_refused(drafted: Any) -> None:
    with pytest.raises(RequestError, match="unknown style 'sepia'"):
        drafted(style="sepia")
    with pytest.raises(RequestError, match="unknown backend 'nobody'"):
        drafted(backend="nobody")


def test_what_the_backend_cannot_draw_is_refused_before_it_is_accepted(
    drafted: Any, backends: Any
) -> None:
    backends.get("mock").refuses = RequestError("too wide")

    with pytest.raises(RequestError, match="too wide"):
        drafted()


@pytest.mark.parametrize(
    ("output", "format_"),
    [("/x/a.webp", "webp"), ("/x/a.JPG", "jpeg"), ("/x/a.jpeg", "jpeg"), ("/x/a.b.png", "png")],
)
def test_an_output_file_asks_for_its_format(drafted: Any, output: str, format_: str) -> None:
    draft = drafted(output=output, context=replace(CONTEXT, format="jpeg"))

    assert draft.request.format == format_
    assert draft.output.replace
    assert f"{draft.output.folder}/{draft.output.name}" == output


@pytest.mark.parametrize("output", ["/x/a", "/x/a.txt", "/x/.png", "/x/a.png.sh", "/x/"])
def test_an_output_file_that_is_no_image_is_refused(drafted: Any, output: str) -> None:
    with pytest.raises(RequestError, match="does not end in an image suffix"):
        drafted(output=output)


def test_a_flag_decides_about_the_sidecar(drafted: Any) -> None:
    assert drafted().output.sidecar
    assert not drafted(sidecar=False).output.sidecar
    assert drafted(sidecar=True, context=replace(CONTEXT, sidecar=False)).output.sidecar


def test_every_placeholder_of_a_name_is_filled_in(drafted: Any) -> None:
    naming = "{batch}/{n}-{width}x{height}-{backend}-{model}-{style}-{id}-{what}.{ext}"
    batch_row = BatchRow(uuid4(), "My Prompts", 2, 17, "key")

    draft = drafted(context=replace(CONTEXT, naming=naming), style="header", batch_row=batch_row)

    assert draft.output.name == (
        f"my-prompts/17-1536x768-other-other-header-{draft.id}-{{what}}.{{ext}}"
    )
    assert (draft.lane, draft.position, draft.run) == (Lane.BULK, 17, 2)
    assert (draft.batch_id, draft.dedupe_key) == (batch_row.batch_id, "key")


@pytest.mark.parametrize("naming", ["{slug}", "{slug}.{seed}", "pictures/{slug}/"])
def test_a_name_without_an_extension_gets_the_one_of_its_bytes(drafted: Any, naming: str) -> None:
    draft = drafted(context=replace(CONTEXT, naming=naming))

    assert draft.output.name.endswith(".{ext}")
    check_target(
        Path(draft.output.folder, draft.output.name.replace("{ext}", "png")), allowed_dirs=None
    )


ODD_PROMPTS = [
    "שועל אדום קופץ",
    "🦊🧑‍🚀",
    "$(rm -rf ~); `id` | cat > x & '\"",
    "../../etc/passwd",
    "{seed} {0} {prompt.__class__} %s %(x)d",
    "a\nb\tc",
    "con",
    "." * 50,
    "x" * 32_000,
    "\u202egnp.exe",
]


@pytest.mark.parametrize("prompt", ODD_PROMPTS, ids=range(len(ODD_PROMPTS)))
def test_any_prompt_is_drawn_as_it_is_under_a_safe_name(
    drafted: Any, desk: Any, prompt: str
) -> None:
    from imagen.ledger.jobs.submit import submit_job

    draft = drafted(prompt)
    submit_job(desk.ledger, draft)

    assert desk.job(draft.id).request.styled_prompt == prompt
    assert desk.job(draft.id).request.prompt == prompt
    name = draft.output.name
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
    assert name.isprintable()
    assert len(name) < 100
    assert name.removesuffix(f"-{draft.request.seed}.{{ext}}") != "2026-09-06-140305-"


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "\x00", " \ud800 "])
def test_a_blank_prompt_is_refused(drafted: Any, prompt: str) -> None:
    with pytest.raises(RequestError, match="the prompt is blank"):
        drafted(prompt)


@pytest.mark.parametrize("size_bytes", [32_001, 200_000])
def test_a_prompt_that_is_too_long_is_refused(drafted: Any, size_bytes: int) -> None:
    with pytest.raises(RequestError, match=f"{size_bytes:,} bytes long; the limit is 32,000"):
        drafted("x" * size_bytes)


def test_the_limit_counts_bytes_and_the_style(drafted: Any) -> None:
    with pytest.raises(RequestError, match="32,001 bytes"):
        drafted("é" * 16_000 + "x")
    with pytest.raises(RequestError, match="prompt with its style"):
        drafted("x" * 32_000, style="header")


@pytest.mark.parametrize("field", ["prompt", "negative"])
def test_what_no_database_can_store_is_taken_out_with_a_warning(backends: Any, field: str) -> None:
    asked = {"prompt": "a fox"} | {field: "a\x00 fox\ud800"}

    resolved = resolve(RequestInput(**asked), CONTEXT, backends)

    assert getattr(resolved.request, field) == "a fox"
    [warning] = resolved.requested.warnings
    assert warning.startswith("removed 2 character(s)")


def test_options_that_no_database_can_store_are_refused_or_cleaned(
    backends: Any, desk: Any
) -> None:
    from imagen.ledger.jobs.submit import submit_job

    # A shell hands a program bytes that are not UTF-8 as lone surrogates.
    request_input = RequestInput("a fox", options={"lora": "caf\udce9"})
    resolved = resolve(request_input, CONTEXT, backends)
    draft = make_draft(resolved, request_input, CONTEXT, now=NOW)

    submit_job(desk.ledger, draft)

    assert desk.job(draft.id).request.options == {"lora": "caf"}
    assert resolved.requested.warnings


def test_an_output_path_that_is_not_utf_8_is_refused(drafted: Any) -> None:
    with pytest.raises(RequestError, match="UTF-8"):
        drafted(output="/pictures/caf\udce9.png")


@given(st.text(max_size=300))
def test_whatever_is_typed_is_refused_or_makes_one_safe_name(text: str) -> None:
    from imagen.output.naming import render_name, slugify

    name = render_name("{slug}-{style}.{ext}", {"slug": slugify(text), "style": text})

    assert "/" not in name
    assert name not in ("", ".", "..")
    assert not name.startswith(".")
    assert len(name.encode("utf-8", "surrogatepass")) <= 240
