"""Whatever Supabase says: the image stays, and its copy arrives once, later."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK
from tests.fakes.supabase import FakeSupabase, Service, SupabaseFault


def always(fault: SupabaseFault, **where: Any) -> Callable[[FakeSupabase], None]:
    return lambda fake: fake.inject(fault, times=None, **where)


@dataclass(frozen=True)
class Trouble:
    """Something of Supabase's that is wrong, and the words that tell people."""

    begin: Callable[[FakeSupabase], None]
    end: Callable[[FakeSupabase], None]
    words: str
    sinks: tuple[str, ...] = (CLOUD_SINK, USAGE_SINK)


STORAGE = {"service": Service.STORAGE}
REST = {"service": Service.REST}
TROUBLES = {
    "everything down": Trouble(
        FakeSupabase.go_down, FakeSupabase.come_back, r"did not answer: connection refused"
    ),
    "storage 5xx": Trouble(
        always(SupabaseFault.DATABASE_DOWN, **STORAGE),
        FakeSupabase.heal,
        r"cannot do it now \(500\)",
        (CLOUD_SINK,),
    ),
    "storage 400 with 503": Trouble(
        always(SupabaseFault.READ_ONLY, **STORAGE),
        FakeSupabase.heal,
        r"cannot do it now \(503\)",
        (CLOUD_SINK,),
    ),
    "gateway 502": Trouble(
        always(SupabaseFault.GATEWAY_ERROR), FakeSupabase.heal, r"cannot do it now \(502\)"
    ),
    "connection cut after the upload": Trouble(
        always(SupabaseFault.CUT_AFTER, service=Service.STORAGE, method="POST"),
        FakeSupabase.heal,
        r"the connection broke",
        (CLOUD_SINK,),
    ),
    "answer lost after the rows": Trouble(
        always(SupabaseFault.CUT_AFTER, service=Service.REST),
        FakeSupabase.heal,
        r"the connection broke",
    ),
    "502 after the upload": Trouble(
        always(SupabaseFault.ERROR_AFTER, service=Service.STORAGE, method="POST"),
        FakeSupabase.heal,
        r"cannot do it now \(502\)",
        (CLOUD_SINK,),
    ),
    "rest without its database": Trouble(
        always(SupabaseFault.DATABASE_DOWN, **REST), FakeSupabase.heal, r"cannot reach its database"
    ),
    "project paused": Trouble(
        always(SupabaseFault.PAUSED), FakeSupabase.heal, r"is paused \(540\)"
    ),
    "schema not exposed": Trouble(
        lambda fake: fake.world.exposed.clear(),
        lambda fake: fake.world.exposed.extend(["mai", "imagen"]),
        r"schema '(mai|imagen)' is not exposed.*add '(mai|imagen)' to the exposed schemas",
    ),
    "missing grants": Trouble(
        lambda fake: fake.world.ungranted.update({("mai", ""), ("imagen", "images")}),
        lambda fake: fake.world.ungranted.clear(),
        r"has no rights on (mai.imagen_usage|imagen.images) \(42501\)",
    ),
    "row-level security": Trouble(
        lambda fake: fake.world.closed.update({("mai", "imagen_usage"), ("storage", "objects")}),
        lambda fake: fake.world.closed.clear(),
        r"row-level security",
    ),
    "row too large": Trouble(
        lambda fake: setattr(fake.world, "max_body_bytes", 100),
        lambda fake: setattr(fake.world, "max_body_bytes", 1 << 24),
        r"larger than",
    ),
    "image too large": Trouble(
        lambda fake: setattr(fake.world, "upload_limit_bytes", 100),
        lambda fake: setattr(fake.world, "upload_limit_bytes", 1 << 24),
        r"larger than Supabase Storage takes \(413\)",
        (CLOUD_SINK,),
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_whatever_is_wrong_the_image_stays_and_its_copy_arrives_once_later(
    office: Any, fake: FakeSupabase, name: str
) -> None:
    trouble = TROUBLES[name]
    job_id = office.draw()
    trouble.begin(fake)

    [outcome] = office.deliver()
    report = office.send()

    assert outcome.state is JobState.SUCCEEDED
    assert office.files() == ["fox.png", "fox.png.json"]
    assert sorted(report.reasons) == sorted(trouble.sinks)
    for why in report.reasons.values():
        assert re.search(trouble.words, why), why
        assert fake.key not in why
        assert "red fox" not in why
    assert sorted(each.sink for each in office.waiting()) == sorted(trouble.sinks)

    trouble.end(fake)
    office.send()

    assert office.waiting() == []
    assert office.has_one_of_each()
    [stored] = fake.objects().values()
    assert hashlib.sha256(stored.data).hexdigest() == office.job(job_id).file_sha256


def test_a_wrong_key_is_named_by_its_variable_and_never_repeated(
    office: Any, fake: FakeSupabase
) -> None:
    office.draw()
    office.deliver()
    env = fake.env | {"SUPABASE_SERVICE_KEY": "sb_secret_another-test-token"}

    report = office.send(env=env)

    assert sorted(report.reasons) == ["cloud", "usage"]
    for why in report.reasons.values():
        assert "SUPABASE_SERVICE_KEY" in why
        assert "another-test-token" not in why
    office.send()
    assert office.has_one_of_each()


def test_a_legacy_key_works_as_well(office: Any, fake: FakeSupabase) -> None:
    office.draw()
    office.deliver()

    office.send(env={"SUPABASE_URL": fake.url, "MAI_SUPABASE_KEY": fake.jwt_key})

    assert office.has_one_of_each()
