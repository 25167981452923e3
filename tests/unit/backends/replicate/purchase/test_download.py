"""An image is fetched whole, from the allowed hosts, without a token."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.backends.replicate.purchase.download import (
    Downloader,
    OutputUnusable,
    read_data_url,
)
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.request import ImageRequest
from imagen.errors import (
    ArtifactLost,
    ContentRejected,
    JobCanceled,
    OutcomeUnknown,
    OutputRefused,
)
from imagen.images.verify import inspect_image
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]


@pytest.fixture
def official() -> Iterator[Downloader]:
    downloader = Downloader(ReplicateSettings(model="black-forest-labs/flux-schnell"))
    yield downloader
    downloader.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://replicate.delivery/x/out-0.png",
        "https://replicate.delivery.evil.example/out-0.png",
        "https://evilreplicate.delivery/out-0.png",
        "https://replicate.delivery@evil.example/out-0.png",
        "https://me:you@replicate.delivery/out-0.png",
        "https://replicate.delivery:8443/out-0.png",
        "https://127.0.0.1/out-0.png",
        "file:///etc/passwd",
        "ftp://replicate.delivery/out-0.png",
        "https://[::1/out-0.png",
        "//replicate.delivery/out-0.png",
    ],
)
def test_nothing_is_fetched_from_elsewhere(official: Downloader, url: str) -> None:
    with pytest.raises(OutputUnusable):
        official.fetch(url, lambda: None)


def test_hosts_below_an_allowed_one_are_allowed(official: Downloader) -> None:
    for url in ("https://replicate.delivery/a", "https://PBXT.replicate.delivery:443/a"):
        official._require_allowed(url)


def test_plain_http_is_for_an_api_on_this_machine_only(fake: FakeReplicate) -> None:
    settings = ReplicateSettings(
        model="black-forest-labs/flux-schnell", download_hosts=fake.download_hosts
    )
    downloader = Downloader(settings)

    with pytest.raises(OutputUnusable):
        downloader.fetch(f"{fake.stage.delivery_url}/output/x/out-0.png", lambda: None)

    downloader.close()
    assert not fake.calls


@pytest.mark.parametrize(
    "fault",
    [ReplicateFault.DOWNLOAD_ERROR, ReplicateFault.DOWNLOAD_TRUNCATED],
)
def test_a_download_that_fails_is_tried_again(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.inject(fault)

    drawn = build().generate(request_, new_run())

    assert inspect_image(drawn.data).width == 512
    assert fake.world.created_count() == 1


def test_a_redirect_elsewhere_is_refused(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.DOWNLOAD_REDIRECTED)

    with pytest.raises(OutputRefused, match=r"elsewhere\.invalid"):
        build().generate(request_, new_run())


@pytest.mark.parametrize("fault", [ReplicateFault.BARE_STRING, ReplicateFault.DATA_URL])
def test_an_output_of_any_shape_is_read(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.inject(fault)

    drawn = build().generate(request_, new_run())

    assert inspect_image(drawn.data).format == "png"


def test_no_file_where_one_was_asked_for_is_a_refusal(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.NO_FILES)

    with pytest.raises(ContentRejected):
        build().generate(request_, new_run())


def test_an_erased_image_is_lost_and_not_drawn_again(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.ERASED)

    with pytest.raises(ArtifactLost) as caught:
        build().generate(request_, new_run())

    assert caught.value.spent
    assert fake.world.created_count() == 1


def test_an_image_whose_download_keeps_failing_is_fetched_later_by_its_id(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The waits between the tries would make this test take eleven seconds.
    monkeypatch.setattr("imagen.backends.replicate.purchase.download._FIRST_BACKOFF_S", 0.001)
    fake.inject(ReplicateFault.DOWNLOAD_TRUNCATED, times=8)
    backend, run = build(), new_run()

    with pytest.raises(OutcomeUnknown) as caught:
        backend.generate(request_, run)
    drawn = backend.generate(request_, run.resumed())

    assert caught.value.look_again_s > 0
    assert inspect_image(drawn.data).width == 512
    assert fake.world.created_count() == 1


def test_a_cancel_is_noticed_between_downloads(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.DOWNLOAD_ERROR, times=8)

    def cancel(*_: int) -> None:
        if fake.count_calls("GET", ".png", host="delivery"):
            raise JobCanceled("canceled")

    with pytest.raises(JobCanceled):
        build().generate(request_, new_run(on_progress=cancel))

    assert fake.count_calls("GET", ".png", host="delivery") == 1


def test_a_data_url_is_read_whatever_type_it_claims() -> None:
    payload = base64.b64encode(b"\x89PNG").decode()

    assert read_data_url(f"data:application/octet-stream;base64,{payload}") == b"\x89PNG"
    assert read_data_url("data:,%89PNG") == b"\x89PNG"


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:image/png;base64,!!!"])
def test_a_damaged_data_url_is_unusable(url: str) -> None:
    with pytest.raises(OutputUnusable):
        read_data_url(url)
