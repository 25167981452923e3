"""The mock backend keeps every promise of a backend, for nothing and for money."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from imagen.backends.mock import adapter
from imagen.domain.protocols import Backend
from imagen.testing.contract import BackendContract
from tests.fakes.adapters import unused_context


def build(**settings: Any) -> Backend:
    return adapter.build("mock", adapter.settings_type.model_validate(settings), unused_context())


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
