"""How late a worker knows that its prediction is ready, and how many calls that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests

from benchmarks.bench import Bench
from benchmarks.provider import fake_replicate, stats_of
from benchmarks.rows import Aim, Row
from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate import adapter
from imagen.domain.drawn import Work
from imagen.domain.protocols import Backend
from imagen.domain.request import ImageRequest
from imagen.ratelimit import SharedLimiter
from tests.fakes.replicate.book import Book, BookRun
from tests.fakes.replicate.server import TOKEN

MODEL = "black-forest-labs/flux-schnell"
#: How long a prediction takes, and how many of each kind are watched.
_PREDICTIONS: dict[float, int] = {0.8: 60, 3.0: 32, 12.0: 16}
_QUICK: dict[float, int] = {0.8: 12, 3.0: 8, 12.0: 4}
_AT_ONCE = 4
#: The first ones of a kind teach how long it takes, as the ledger's past ones do.
_WARM_UP = 4
#: The share by which durations vary.
_JITTER = 0.05
_FIXED_GAP_S = 0.5
_LONG_S = 10.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _Watched:
    """Milliseconds from ready to known for each prediction, and calls for each."""

    late_ms: Sequence[float]
    calls: Sequence[float]


class _NoPast:
    """Implements ``Durations`` for a ledger that is new."""

    def expected_s(self, _backend: str, _work: Work | None = None) -> float | None:
        return None


def measure(bench: Bench) -> list[Row]:
    """p50 and p95 for each duration, next to a poll every half second on the same server."""
    rows = []
    for draw_s, number in (_QUICK if bench.quick else _PREDICTIONS).items():
        with fake_replicate("--draw-s", str(draw_s), "--jitter", str(_JITTER)) as place:
            rows += _rows(draw_s, number, place)
    return rows


def _rows(draw_s: float, number: int, place: dict[str, str]) -> list[Row]:
    backend = _backend(place)
    with ThreadPoolExecutor(2) as pool:
        fixed = pool.submit(_all, number, lambda seed: _poll_fixed(place["base_url"], seed), 1)
        ours = pool.submit(_all, number, lambda seed: _draw(backend, seed), 100_001)
        fixed.result()
        ours.result()
    backend.close()
    made = stats_of(place["base_url"])["predictions"]
    theirs, watched = (
        _read(made, range(first + _WARM_UP, first + _WARM_UP + number)) for first in (1, 100_001)
    )
    rows = []
    for name, rank in (("p50", 0.5), ("p95", 0.95)):
        baseline = Row(
            f"{draw_s:g} s, every 500 ms, {name}", [_rank(theirs.late_ms, rank)], "ms late"
        )
        late_ms = [_rank(watched.late_ms, rank)]
        aim = Aim.at_most(0.333, of_ratio=True) if name == "p50" else None
        rows += [baseline, Row(f"{draw_s:g} s, imagen, {name}", late_ms, "ms late", baseline, aim)]
        if name == "p50" and draw_s < 1:
            short = "the same, in milliseconds"
            rows.append(Row(f"{draw_s:g} s, imagen, {name}", late_ms, "ms late", None,
                            Aim.at_most(60), short))  # fmt: skip
    calls = Row(f"{draw_s:g} s, every 500 ms, calls each", theirs.calls, "calls")
    # A long one is looked at on its way, so that a quick one among them is noticed in time.
    most = Aim.at_most(12 if draw_s < _LONG_S else 26)
    rows += [calls, Row(f"{draw_s:g} s, imagen, calls each", watched.calls, "calls", calls, most)]
    return rows


def _all(number: int, draw: Callable[[int], object], first_seed: int) -> None:
    """Warm up, one at a time, then the rest with a few at once."""
    for seed in range(first_seed, first_seed + _WARM_UP):
        draw(seed)
    seeds = range(first_seed + _WARM_UP, first_seed + _WARM_UP + number)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in pool.map(draw, seeds):
            del done


def _backend(place: dict[str, str]) -> Backend:
    settings = adapter.settings_type.model_validate(
        {"model": MODEL, "base_url": place["base_url"], "download_hosts": [place["download_hosts"]]}
    )
    context = AdapterContext(
        env={"REPLICATE_API_TOKEN": TOKEN},
        limiter=SharedLimiter(),
        durations=_NoPast(),
        attempts=_BOOK,
    )
    return adapter.build("bench", settings, context)


_BOOK = Book()


def _draw(backend: Backend, seed: int) -> None:
    prompt = f"a lighthouse, {seed}"
    request = ImageRequest(prompt, prompt, width=512, height=512, seed=seed, steps=4)
    backend.generate(request, BookRun(book=_BOOK))


def _poll_fixed(base_url: str, seed: int) -> None:
    """What most clients do."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        body = {"input": {"prompt": f"a lighthouse, {seed}", "seed": seed}}
        url = f"{base_url}/v1/models/{MODEL}/predictions"
        made = session.post(url, json=body, timeout=_TIMEOUT_S).json()
        while made["status"] in ("starting", "processing"):
            time.sleep(_FIXED_GAP_S)
            url = f"{base_url}/v1/predictions/{made['id']}"
            made = session.get(url, timeout=_TIMEOUT_S).json()
    if made["status"] != "succeeded":
        raise RuntimeError(f"a prediction of the fake ended as {made['status']}")


def _read(made: Sequence[dict[str, Any]], seeds: range) -> _Watched:
    """From the provider's own records, by its own clock."""
    ours = [one for one in made if one["seed"] in seeds]
    if len(ours) != len(seeds):
        raise RuntimeError(f"{len(ours)} predictions were made for {len(seeds)} requests")
    late_ms = [(one["told_at"] - one["ready_at"]) * 1000 for one in ours]
    return _Watched(late_ms, [one["polls"] + 1 for one in ours])


def _rank(values: Sequence[float], rank: float) -> float:
    return sorted(values)[min(int(rank * len(values)), len(values) - 1)]
