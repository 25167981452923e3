"""The Replicate backend keeps every promise of a backend, against a fake Replicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate import adapter
from imagen.domain.protocols import Backend
from imagen.domain.request import ImageRequest
from imagen.ratelimit import SharedLimiter
from imagen.testing.contract import BackendContract
from tests.fakes.replicate import FakeReplicate


class _NothingKnown:
    """Durations and an index of attempts for an empty ledger."""

    def expected_s(self, backend: str, work: object = None) -> float | None:
        return None

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        return frozenset()


class ReplicateContract(BackendContract):
    secrets = ("test-token",)
    model: str

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        with FakeReplicate(draw_s=0.02) as fake:
            self.fake = fake
            settings: dict[str, Any] = {
                "model": self.model,
                "base_url": fake.url,
                "download_hosts": fake.download_hosts,
                "price": "0.003",
            }
            nothing = _NothingKnown()
            context = AdapterContext(
                env={"REPLICATE_API_TOKEN": "test-token"},
                limiter=SharedLimiter(),
                durations=nothing,
                attempts=nothing,
            )
            backend = adapter.build(
                "under-test", adapter.settings_type.model_validate(settings), context
            )
            yield backend
            backend.close()

    @pytest.fixture
    def request_(self) -> ImageRequest:
        return ImageRequest("a red fox", "a red fox", width=512, height=512, seed=7, steps=4)

    def count_drawings(self, backend: Backend) -> int:
        return self.fake.world.created_count()


class TestOfficialModel(ReplicateContract):
    model = "black-forest-labs/flux-schnell"


class TestModelDrivenByItsOwnSchema(ReplicateContract):
    model = f"acme/painter:{'a' * 64}"
