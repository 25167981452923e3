"""What must be true of the money when all is over; every breach is a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import func, select

from imagen.domain.job import AttemptState
from imagen.ledger.store.outgoing_tables import imagen_usage
from imagen.ledger.store.tables import attempts
from tests.chaos.audit import Audit, audit
from tests.chaos.money.stage import PRICE_USD, PaidEnvironment
from tests.chaos.money.timeline import Act, timeline_of
from tests.fakes.replicate import FakeReplicate


@dataclass
class Account:
    """The ledger's view and the provider's, side by side."""

    jobs: int
    images: int
    #: Every prediction that the provider has ever made.
    created: int
    billed_usd: Decimal
    #: What the provider was asked, by kind of call.
    calls: Counter[str]
    whole: Audit
    breaches: list[str] = field(default_factory=list)


def settle_account(
    environment: PaidEnvironment, fake: FakeReplicate, *, ordered: int, acts: Sequence[Act] = ()
) -> Account:
    """Compare rows, files and the provider's own book. Nobody may be at work any more.

    ``acts`` are what was done to the workers; they stand in the breaches that are about one order.
    """
    whole = audit(environment)
    with environment.imagen().ledger.read() as connection:
        rows = connection.execute(
            select(attempts.c.external_id, attempts.c.state).where(
                attempts.c.external_id.is_not(None)
            )
        ).all()
        billed = connection.scalar(select(func.sum(imagen_usage.c.cost_usd_estimate)))
    made = {one.id for one in fake.world.made.values()}
    owned = Counter(row.external_id for row in rows)
    drawn = {row.external_id for row in rows if row.state == AttemptState.DRAWN}
    found = Account(
        jobs=whole.jobs,
        images=whole.images,
        created=len(made),
        billed_usd=Decimal(billed or 0),
        calls=Counter(fake.stats()["calls"]),
        whole=whole,
        breaches=list(whole.breaches),
    )
    if not ordered == found.jobs == found.images:
        found.breaches.append(f"{ordered} ordered, {found.jobs} jobs, {found.images} images")
    if found.created != ordered:
        found.breaches.append(f"{found.created} predictions were paid for {ordered} jobs")
    _blame(found, "predictions that nobody owns", made - set(owned))
    _blame(found, "predictions with two owners", {one for one, n in owned.items() if n > 1})
    _blame(found, "predictions whose image nobody has", made - drawn)
    for one in sorted(made - set(owned)):
        found.breaches.append(timeline_of(one, environment, fake, acts=acts))
    expected = Decimal(str(PRICE_USD)) * ordered
    if abs(found.billed_usd - expected) > Decimal("0.0001"):
        found.breaches.append(f"${found.billed_usd} are on record instead of ${expected}")
    return found


def _blame(found: Account, what: str, who: set[str]) -> None:
    if who:
        found.breaches.append(f"{len(who)} {what}: {', '.join(sorted(who)[:5])}")
