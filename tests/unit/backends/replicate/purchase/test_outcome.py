"""An output that is no image ends the job, with its type, size and id in the message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagen.backends.replicate.api.predictions import Prediction
from imagen.backends.replicate.backend import ReplicateBackend
from imagen.backends.replicate.purchase.outcome import output_urls, require_success
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    ImagenError,
    OutputRefused,
)
from imagen.images.verify import inspect_image
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ReplicateFault.DOWNLOAD_SVG, r"an SVG drawing \(\d+ bytes, image/svg\+xml\)"),
        (ReplicateFault.DOWNLOAD_GIF, r"a GIF \(906 bytes, image/gif\)"),
        (ReplicateFault.DOWNLOAD_VIDEO, r"a video \(912 bytes, video/mp4\)"),
        (ReplicateFault.DOWNLOAD_GARBAGE, r"an HTML page \(\d+ bytes, image/png\)"),
        (ReplicateFault.DOWNLOAD_BOMB, r"50000x50000 pixels.* \(\d+ bytes, image/png\)"),
        (ReplicateFault.DOWNLOAD_TOO_LARGE, r"2,147,483,648 bytes \(video/mp4\)"),
    ],
)
def test_a_file_that_is_no_image_is_final_at_once(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    words: str,
) -> None:
    fake.inject(fault, times=99)
    run = new_run()

    with pytest.raises(OutputRefused, match=words) as caught:
        build().generate(request_, run)

    assert run.external_ids[0] in str(caught.value)
    assert "fox" not in str(caught.value)
    assert fake.count_calls("GET", ".png", host="delivery") == 1


def test_an_image_that_is_damaged_where_it_lies_is_fetched_twice_and_then_final(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.DOWNLOAD_DAMAGED, times=99)

    with pytest.raises(OutputRefused, match=r"bytes, image/png"):
        build().generate(request_, new_run())

    assert fake.count_calls("GET", ".png", host="delivery") == 2


def test_an_image_that_is_damaged_on_the_way_is_fetched_again(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.DOWNLOAD_DAMAGED)

    assert inspect_image(build().generate(request_, new_run()).data).width == 512


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ReplicateFault.DAMAGED_DATA_URL, r"data URL \(\d+ characters\) is damaged"),
        (ReplicateFault.TEXT_OUTPUT, "gave text instead of an image"),
        (ReplicateFault.OBJECT_OUTPUT, "gave an object without an image instead of an image"),
        (ReplicateFault.OUTPUT_ELSEWHERE, r"elsewhere\.invalid"),
    ],
)
def test_an_output_that_is_no_image_is_final_and_not_called_moderation(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    words: str,
) -> None:
    fake.inject(fault)
    run = new_run()

    with pytest.raises(OutputRefused, match=words) as caught:
        build().generate(request_, run)

    assert run.external_ids[0] in str(caught.value)
    assert "moderation" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ReplicateFault.OUTPUT_ELSEWHERE, OutputRefused),
        (ReplicateFault.TEXT_OUTPUT, OutputRefused),
        (ReplicateFault.NO_FILES, ContentRejected),
        (ReplicateFault.DOWNLOAD_SVG, OutputRefused),
    ],
)
def test_what_succeeded_is_billed_whether_or_not_its_image_gets_here(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    error: type[Exception],
) -> None:
    fake.inject(fault)
    run = new_run()

    with pytest.raises(error):
        build().generate(request_, run)

    ((_, bill),) = run.of_kind("billed")
    assert str(bill.cost) == "$0.003"
    assert (bill.model, bill.seed, bill.steps) == ("black-forest-labs/flux-schnell", 7, 4)


def test_the_same_output_is_fetched_once_the_cause_is_mended(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run()
    with pytest.raises(OutputRefused, match="download_hosts"):
        build(download_hosts=("replicate.delivery",)).generate(request_, run)

    drawn = build().generate(request_, run.resumed())

    assert drawn.data
    assert fake.world.created_count() == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            "All generated images contained NSFW content. Try running it again with a different"
            " prompt.",
            ContentRejected,
        ),
        (
            "NSFW content detected. Try running it again, or try a different prompt.",
            ContentRejected,
        ),
        (
            "Prediction failed: Async prediction failed: ModelError: The input or output was"
            " flagged as sensitive. Please try again with different inputs. (E005) (x)",
            ContentRejected,
        ),
        ("Prediction interrupted; please retry (code: PA)", BackendUnavailable),
        ("Director: unexpected error handling prediction (E9828)", BackendUnavailable),
        (
            "Service is temporarily unavailable. Please try again later. (E004)",
            BackendUnavailable,
        ),
        ("", BackendUnavailable),
        ("CUDA error: device-side assert", BackendRejected),
        ("ValueError: E00412 is not a colour", BackendRejected),
    ],
)
def test_a_failure_is_sorted_by_its_text(error: str, kind: type[ImagenError]) -> None:
    failed = Prediction("x1", "failed", error=error)

    with pytest.raises(kind) as caught:
        require_success(failed, "x1", private=(), cancel_after_s=60)

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        ("https://a", ("https://a",)),
        (["https://a", "https://b"], ("https://a", "https://b")),
        ({"url": "https://a"}, ("https://a",)),
        ({"images": ["https://a"]}, ("https://a",)),
        (None, ()),
        ("", ()),
        ([None, 5], ()),
        ("Note: a fox", ()),
        ({"video": "https://a"}, ()),
        ([[["https://a"]]], ()),
    ],
)
def test_urls_are_found_in_outputs_of_any_shape(output: object, urls: tuple[str, ...]) -> None:
    assert output_urls(output) == urls
