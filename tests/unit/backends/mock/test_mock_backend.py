"""The mock backend misbehaves exactly as its settings say."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imagen.backends.mock import adapter
from imagen.backends.mock.backend import MockBackend
from imagen.backends.mock.settings import MockSettings
from imagen.domain.cost import FREE
from imagen.domain.job import Attempt, AttemptState
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    CredentialError,
    ImagenError,
    JobCanceled,
    JobTimeout,
    LeaseLost,
    OutOfCredit,
    RateLimited,
    RequestError,
)
from imagen.testing.runs import RecordingRun, resume
from tests.fakes.adapters import unused_context


def build(env: dict[str, str] | None = None, **settings: Any) -> MockBackend:
    return adapter.build("mock", MockSettings.model_validate(settings), unused_context(env))


def ask(prompt: str = "a red fox", **others: Any) -> ImageRequest:
    return ImageRequest(prompt, prompt, 64, 64, **({"seed": 7, "steps": 4} | others))


def test_it_draws_at_once_and_for_nothing() -> None:
    run = RecordingRun()

    drawn = build().generate(ask(), run)

    assert (drawn.model, drawn.seed, drawn.steps, drawn.cost) == ("mock-landscape", 7, 4, FREE)
    assert run.events == [("progress", 0, 4), ("progress", 4, 4)]


def test_default_steps_are_filled_in() -> None:
    fitted = build(default_steps=9).fit(ask(steps=None))

    assert fitted.request.steps == 9
    assert fitted.warnings == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps 0"),
        ({"options": {"guidance": "3"}}, "no option 'guidance'.*palette=NAME"),
        ({"options": {"palette": "neon"}}, "no palette 'neon'.*dusk"),
        ({"width": 63}, "63"),
    ],
)
def test_what_it_cannot_draw_is_refused_at_submission(change: dict[str, Any], message: str) -> None:
    request = ask(steps=None)
    changed = replace(request, **change)

    with pytest.raises(RequestError, match=message):
        build().fit(changed)


def test_latency_is_spread_over_the_steps() -> None:
    run = RecordingRun()

    build(latency_ms=20).generate(ask(), run)

    dones = [done for _, done, _ in run.of_kind("progress")]
    assert dones == sorted(dones)
    assert set(dones) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"unavailable": True}, BackendUnavailable),
        ({"out_of_credit": True}, OutOfCredit),
        ({"reject": True}, BackendRejected),
        ({"reject_if_contains": "fox"}, BackendRejected),
        ({"moderate_if_contains": "red"}, ContentRejected),
        ({"not_configured_env": "MOCK_TOKEN"}, CredentialError),
    ],
)
def test_it_refuses_as_told_before_anything_is_spent(
    settings: dict[str, Any], error: type[ImagenError], tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    run = RecordingRun()

    with pytest.raises(error) as caught:
        build(cost_usd=1, calls_log=log, **settings).generate(ask(), run)

    assert "fox" not in str(caught.value)
    assert run.events == []
    assert not log.exists()


@pytest.mark.parametrize("setting", ["reject_if_contains", "moderate_if_contains"])
def test_other_prompts_are_drawn_all_the_same(setting: str) -> None:
    assert build(**{setting: "badger"}).generate(ask(), RecordingRun())


def test_the_first_tries_of_each_job_fail() -> None:
    backend = build(rate_limit_first=1, retry_after_s=2.5, fail_first=2)

    for seed in (1, 2):
        with pytest.raises(RateLimited) as caught:
            backend.generate(ask(seed=seed), RecordingRun())
        assert caught.value.retry_after_s == 2.5
        for _ in range(2):
            with pytest.raises(BackendUnavailable):
                backend.generate(ask(seed=seed), RecordingRun())
        assert backend.generate(ask(seed=seed), RecordingRun())


def test_tries_are_counted_across_processes_where_there_is_a_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            build(fail_first=2, state_dir=tmp_path / "new").generate(ask(), RecordingRun())

    assert build(fail_first=2, state_dir=tmp_path / "new").generate(ask(), RecordingRun())


def test_every_drawing_leaves_a_line(tmp_path: Path) -> None:
    log = tmp_path / "new" / "calls"
    backend, run = build(calls_log=log), RecordingRun()

    backend.generate(ask(), run)
    backend.generate(ask(), run)

    assert log.read_text() == f"{run.attempt_id}\t7\n" * 2


def test_a_log_that_cannot_be_written_is_named() -> None:
    with pytest.raises(BackendUnavailable, match=r"/proc/calls.*'calls_log'"):
        build(calls_log="/proc/calls").generate(ask(), RecordingRun())


def test_an_image_with_a_price_is_announced_and_submitted() -> None:
    backend, run = build(cost_usd="0.003"), RecordingRun()

    drawn = backend.generate(ask(), run)

    assert not backend.repeat_is_free
    assert drawn.cost.usd == Decimal("0.003") == backend.estimate(ask()).usd
    assert [event[0] for event in run.events[:2]] == ["intend", "submitted"]
    assert run.external_ids == [f"mock-{run.attempt_id}"]


def test_a_paid_image_is_not_paid_again_when_resumed(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    first = RecordingRun()
    drawn = build(cost_usd=1, calls_log=log).generate(ask(), first)

    again = build(cost_usd=1, calls_log=log, reject=True).generate(ask(), resume(first))

    assert again.data == drawn.data
    assert len(log.read_text().splitlines()) == 1


def test_an_announced_call_is_looked_up_before_it_is_made_again(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    first = RecordingRun()
    build(cost_usd=1, calls_log=log).generate(ask(), first)
    intended = Attempt(first.attempt_id, first.attempt_id, 1, "mock", AttemptState.INTENDED)
    second = RecordingRun(attempt_id=first.attempt_id, previous=intended)

    build(cost_usd=1, calls_log=log).generate(ask(), second)

    assert second.of_kind("intend") == []
    assert second.external_ids == first.external_ids
    assert len(log.read_text().splitlines()) == 1


def test_an_announced_call_that_was_never_made_is_made_now(tmp_path: Path) -> None:
    run = RecordingRun()
    run.previous = Attempt(run.attempt_id, run.attempt_id, 1, "mock", AttemptState.INTENDED)

    build(cost_usd=1, calls_log=tmp_path / "calls").generate(ask(), run)

    assert [event[0] for event in run.events[:2]] == ["intend", "submitted"]


@pytest.mark.parametrize("reason", [JobCanceled("canceled"), LeaseLost("lost")])
def test_a_hanging_job_can_be_stopped(reason: ImagenError) -> None:
    ticks = 0

    def stop(done: int, total: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            raise reason

    with pytest.raises(type(reason)):
        build(hang_if_contains="fox").generate(ask(), RecordingRun(on_progress=stop))


def test_a_hanging_job_runs_into_its_deadline() -> None:
    with pytest.raises(JobTimeout, match=r"hung for 0\.02 s"):
        build(hang_if_contains="fox", hang_s=0.02).generate(ask(), RecordingRun())


def test_closing_ends_what_hangs() -> None:
    backend, run = build(hang_if_contains="fox"), RecordingRun()
    caught: list[BaseException] = []
    thread = threading.Thread(target=_collect, args=(lambda: backend.generate(ask(), run), caught))
    thread.start()
    assert run.started.wait(10)

    backend.close()

    thread.join(10)
    assert [type(error) for error in caught] == [BackendUnavailable]


def test_a_poisonous_prompt_kills_the_whole_process() -> None:
    script = (
        "from imagen.backends.mock.backend import MockBackend\n"
        "from imagen.backends.mock.settings import MockSettings\n"
        "from imagen.domain.request import ImageRequest\n"
        "from imagen.testing.runs import RecordingRun\n"
        "backend = MockBackend('mock', MockSettings(crash_if_contains='fox'), {})\n"
        "backend.generate(ImageRequest('fox', 'fox', 64, 64, seed=1), RecordingRun())\n"
    )

    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)

    assert done.returncode == 139


def test_check_says_what_is_missing_and_what_is_not() -> None:
    assert str(build().check()) == "ok: draws landscapes without a model"
    assert str(build(not_configured_env="MOCK_TOKEN").check()) == "not configured (set MOCK_TOKEN)"
    assert build({"MOCK_TOKEN": "test-token"}, not_configured_env="MOCK_TOKEN").check().is_ok
    assert build(unavailable=True).check().state == "unreachable"
    assert build(out_of_credit=True).check().state == "unreachable"


@pytest.mark.parametrize(
    "settings",
    [{"latency": 3}, {"latency_ms": -1}, {"cost_usd": 0}, {"default_steps": 0}, {"model": ""}],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MockSettings.model_validate(settings)


def _collect(call: Callable[[], object], caught: list[BaseException]) -> None:
    try:
        call()
    except ImagenError as exc:
        caught.append(exc)
