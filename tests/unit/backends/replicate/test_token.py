"""The token is sent to the API's host only, and no text contains it."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.errors import ImagenError
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]
SECRET = "test-token"

_REFUSING = [
    *(
        fault
        for fault in ReplicateFault
        if fault.label.startswith(("no_", "not_", "un", "invalid"))
    ),
    ReplicateFault.MODERATED,
    ReplicateFault.BROKEN,
    ReplicateFault.OUTPUT_ELSEWHERE,
    ReplicateFault.TEXT_OUTPUT,
    ReplicateFault.FORBIDDEN,
    ReplicateFault.DOWNLOAD_SVG,
    ReplicateFault.DOWNLOAD_REDIRECTED,
    ReplicateFault.ERASED,
]


def test_only_the_api_is_shown_the_token(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)

    build().generate(request_, new_run())

    downloads = [call for call in fake.calls if call.host == "delivery"]
    calls = [call for call in fake.calls if call.host == "api"]
    assert downloads
    assert not any("Authorization" in call.headers for call in downloads)
    assert all(call.headers["Authorization"] == f"Bearer {SECRET}" for call in calls)
    assert not any(SECRET in f"{call.path} {call.text}" for call in fake.calls)


def test_a_netrc_entry_changes_no_request(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("default login somebody password hunter2\n")
    monkeypatch.setenv("NETRC", netrc)

    build().generate(request_, new_run())

    assert not any("Basic" in call.headers.get("Authorization", "") for call in fake.calls)


@pytest.mark.parametrize("fault", _REFUSING, ids=lambda fault: str(fault.label))
def test_no_error_or_log_line_holds_token_or_prompt(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    caplog: pytest.LogCaptureFixture,
    fault: ReplicateFault,
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.inject(fault)
    backend = build()

    with pytest.raises(ImagenError) as caught:
        backend.generate(request_, new_run())

    shown = [
        *traceback.format_exception(caught.value),
        repr(caught.value),
        repr(pickle.dumps(caught.value)),
        caplog.text,
        *(str(vars(record)) for record in caplog.records),
    ]
    assert not any(SECRET in text for text in shown)
    assert not any("vermilion" in text for text in shown)


def test_nothing_that_can_be_printed_holds_the_token(build: Build) -> None:
    backend = build()

    for printed in (repr(backend), str(vars(backend)), str(vars(backend._client))):
        # The environment is an argument that imagen does not print.
        assert SECRET not in printed.replace(str({"REPLICATE_API_TOKEN": SECRET}), "")
