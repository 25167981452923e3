"""The test suite for adapters; needs pytest, which the ``dev`` extra brings.

Inherit from it in a test module and override the fixture that makes your backend::

    class TestMyBackend(BackendContract):
        is_deterministic = True

        @pytest.fixture
        def backend(self):
            return adapter.build("mine", MySettings(), context)
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from PIL import Image

from imagen.domain.cost import Cost
from imagen.domain.drawn import Drawn, Health
from imagen.domain.protocols import Backend
from imagen.domain.request import ImageRequest
from imagen.errors import ImagenError, JobCanceled, LeaseLost
from imagen.images.verify import inspect_image
from imagen.testing.runs import RecordingRun, resume

# No call of an adapter may take longer against a fake server.
_PATIENCE_S = 60.0
# What ``Backend.check`` promises.
_CHECK_LIMIT_S = 5.0


class BackendContract:
    """What imagen relies on in every backend.

    Attributes:
        is_deterministic: the same seed gives the same pixels.
        reports_progress: ``run.progress`` is called at least once per drawing.
        draws_asked_size: images have the size of the request that ``fit`` returned.
        secrets: configured values that no message may contain.
    """

    is_deterministic: bool = True
    reports_progress: bool = True
    draws_asked_size: bool = True
    secrets: tuple[str, ...] = ()

    # What to override.

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """The backend under test; ``close`` it after the yield."""
        raise pytest.UsageError(f"{type(self).__name__} must override the fixture 'backend'")

    @pytest.fixture
    def request_(self) -> ImageRequest:
        """A small request that the backend can draw."""
        return ImageRequest("a red fox", "a red fox", width=256, height=256, seed=7)

    def count_drawings(self, backend: Backend) -> int | None:  # noqa: ARG002  # for overriders
        """How many images the server has been asked for so far; None if it does not count."""
        return None

    # The request.

    def test_fit_is_pure_and_fills_in_every_default(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        before = request_.to_json()

        fitted = backend.fit(request_)

        assert request_.to_json() == before
        assert backend.fit(request_) == fitted
        assert fitted.request.steps is not None, "fit fills in the backend's default steps"
        assert backend.fit(fitted.request).request == fitted.request, (
            "fitting twice changes nothing"
        )

    def test_fit_leaves_prompt_and_seed_alone(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        fitted = backend.fit(request_).request

        assert fitted.prompt == request_.prompt
        assert fitted.seed == request_.seed

    # The drawing.

    def test_a_drawing_is_a_whole_image_as_asked(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        fitted = backend.fit(request_).request

        drawn = backend.generate(fitted, RecordingRun())

        info = inspect_image(drawn.data)
        if self.draws_asked_size:
            assert (info.width, info.height) == (fitted.width, fitted.height)
        # None where the model takes no seed: a seed that was not sent must not be recorded.
        assert drawn.seed in (fitted.seed, None)
        assert drawn.negative in (fitted.negative, "", None)
        assert drawn.model
        assert isinstance(drawn.cost, Cost)
        assert_jsonable(drawn.details)
        self.assert_no_secret(str(drawn.details), *drawn.warnings)

    def test_the_same_seed_draws_the_same_image(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        fitted = backend.fit(request_).request

        first = backend.generate(fitted, RecordingRun())
        second = backend.generate(fitted, RecordingRun())

        if self.is_deterministic:
            assert pixels(first) == pixels(second)
        assert first.seed == second.seed

    def test_another_seed_draws_another_image(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        fitted = backend.fit(request_).request
        other = replace(fitted, seed=fitted.seed + 1)

        first = backend.generate(fitted, RecordingRun())
        second = backend.generate(other, RecordingRun())

        assert pixels(first) != pixels(second)

    def test_progress_stays_within_its_total(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        run = RecordingRun()

        backend.generate(backend.fit(request_).request, run)

        ticks = run.of_kind("progress")
        assert all(0 <= done <= total for _, done, total in ticks)
        assert ticks or not self.reports_progress

    def test_what_is_told_between_steps_is_a_short_line(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        run = RecordingRun()

        backend.generate(backend.fit(request_).request, run)

        assert all(phase.isprintable() and len(phase) <= 200 for phase in run.phases)
        self.assert_no_secret(*run.phases)

    @pytest.mark.parametrize("reason", [JobCanceled("canceled"), LeaseLost("lost")])
    def test_what_progress_raises_passes_through(
        self, backend: Backend, request_: ImageRequest, reason: ImagenError
    ) -> None:
        if not self.reports_progress:
            return

        def stop(done: int, total: int) -> None:  # noqa: ARG001  # the signature of progress
            raise reason

        with pytest.raises(type(reason)) as caught:
            backend.generate(backend.fit(request_).request, RecordingRun(on_progress=stop))

        assert caught.value is reason

    def test_a_canceled_backend_draws_the_next_image(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        fitted = backend.fit(request_).request

        def stop(done: int, total: int) -> None:  # noqa: ARG001  # the signature of progress
            raise JobCanceled("canceled")

        if self.reports_progress:
            with pytest.raises(JobCanceled):
                backend.generate(fitted, RecordingRun(on_progress=stop))

        assert inspect_image(backend.generate(fitted, RecordingRun()).data)

    def test_threads_share_a_backend(self, backend: Backend, request_: ImageRequest) -> None:
        fitted = backend.fit(request_).request
        wanted = [replace(fitted, seed=fitted.seed + number) for number in range(16)]

        with ThreadPoolExecutor(max_workers=8) as pool:
            drawn = list(
                pool.map(
                    lambda one: backend.generate(one, RecordingRun()), wanted, timeout=_PATIENCE_S
                )
            )

        assert [one.seed for one in drawn] == [one.seed for one in wanted]
        assert len({pixels(one) for one in drawn}) == len(wanted)

    # Paid calls, and resuming an attempt of another worker.

    def test_a_paid_call_is_announced_before_it_is_made(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        if backend.repeat_is_free:
            return
        run = RecordingRun()

        backend.generate(backend.fit(request_).request, run)

        steps = [event[0] for event in run.events if event[0] in ("intend", "submitted")]
        assert steps == ["intend", "submitted"]
        assert all(external_id for external_id in run.external_ids)

    def test_a_paid_call_is_not_made_when_the_lease_may_run_out(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        if backend.repeat_is_free:
            return
        before = self.count_drawings(backend)

        with pytest.raises(LeaseLost):
            backend.generate(backend.fit(request_).request, _ShortOfLease())

        assert self.count_drawings(backend) == before

    def test_a_resumed_attempt_is_not_drawn_again(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        fitted = backend.fit(request_).request
        first_run = RecordingRun()
        first = backend.generate(fitted, first_run)
        if not first_run.external_ids:
            return
        before = self.count_drawings(backend)

        again = backend.generate(fitted, resume(first_run))

        assert pixels(again) == pixels(first)
        assert self.count_drawings(backend) == before

    def test_an_estimate_names_its_source_and_never_calls_a_paid_call_free(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        cost = backend.estimate(backend.fit(request_).request)

        assert cost.source
        assert cost.usd is None or cost.usd >= 0
        if not backend.repeat_is_free:
            assert cost.usd != 0, "an unknown price is unknown, never 0"

    def test_fit_estimate_and_affinity_connect_to_no_server(
        self, backend: Backend, request_: ImageRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_args: object) -> None:
            raise AssertionError("fit, estimate and affinity may not connect to anything")

        monkeypatch.setattr("socket.socket.connect", refuse)

        fitted = backend.fit(request_).request
        backend.estimate(fitted)
        backend.affinity(fitted)

    def test_affinity_is_a_name_or_none(self, backend: Backend, request_: ImageRequest) -> None:
        fitted = backend.fit(request_).request

        affinity = backend.affinity(fitted)

        assert affinity is None or affinity
        assert backend.affinity(fitted) == affinity

    # Health, cancel and close.

    def test_check_is_quick_and_keeps_secrets(self, backend: Backend) -> None:
        began_s = time.monotonic()
        health = backend.check()
        took_s = time.monotonic() - began_s

        assert isinstance(health, Health)
        assert health.is_ok, str(health)
        assert took_s < _CHECK_LIMIT_S
        self.assert_no_secret(str(health), health.hint, *health.warnings)

    def test_canceling_and_forgetting_unknown_ids_does_no_harm(self, backend: Backend) -> None:
        unknown = str(uuid4())

        for _ in range(2):
            backend.cancel(unknown)
            backend.forget(unknown)

    def test_canceling_and_forgetting_finished_work_does_no_harm(
        self, backend: Backend, request_: ImageRequest
    ) -> None:
        run = RecordingRun()
        backend.generate(backend.fit(request_).request, run)

        for external_id in run.external_ids * 2:
            backend.cancel(external_id)
            backend.forget(external_id)

    def test_closing_twice_is_fine(self, backend: Backend) -> None:
        backend.close()
        backend.close()

    def test_it_does_not_show_secrets_when_printed(self, backend: Backend) -> None:
        self.assert_no_secret(repr(backend), str(backend))

    def assert_no_secret(self, *texts: str) -> None:
        for secret in self.secrets:
            assert not any(secret in text for text in texts), "a secret was shown"


class _ShortOfLease(RecordingRun):
    def intend(self, *, timeout_s: float) -> None:
        raise LeaseLost(f"the lease may run out within {timeout_s:.0f} s")


def pixels(drawn: Drawn) -> tuple[tuple[int, int], bytes]:
    """Size and decoded RGB bytes: two files with the same pixels are the same image here."""
    with Image.open(io.BytesIO(drawn.data)) as image:
        return image.size, image.convert("RGB").tobytes()


def assert_jsonable(details: Mapping[str, object]) -> None:
    assert json.loads(json.dumps(dict(details))) == dict(details), "details are for a JSON file"
