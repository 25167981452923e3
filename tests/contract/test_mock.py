"""The mock backend keeps every promise of a backend, for nothing and for money."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from imagen.backends.adapter import AdapterContext
from imagen.backends.mock import adapter
from imagen.domain.protocols import Backend
from imagen.testing.contract import BackendContract


class _Nobody:
    """A limiter, durations and an index for a backend that asks none of them."""

    def wait(self, key: str, limits: tuple[str, ...], *, timeout_s: float) -> None:
        raise AssertionError("the mock backend has no rate limit")

    def expected_s(self, backend: str, work: object = None) -> float | None:
        return None

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        return frozenset()


def build(**settings: Any) -> Backend:
    nobody = _Nobody()
    context = AdapterContext(env={}, limiter=nobody, durations=nobody, attempts=nobody)
    return adapter.build("mock", adapter.settings_type.model_validate(settings), context)


class TestFreeMock(BackendContract):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = build(latency_ms=4)
        yield backend
        backend.close()


class TestPaidMock(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        self.calls_log = tmp_path / "calls"
        backend = build(cost_usd=Decimal("0.003"), calls_log=self.calls_log)
        yield backend
        backend.close()

    def count_drawings(self, backend: Backend) -> int:
        return len(self.calls_log.read_text().splitlines()) if self.calls_log.exists() else 0
