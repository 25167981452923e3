"""What must be true of the predictions at the provider; every breach is a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import func, select

from imagen.domain.job import AttemptState
from imagen.ledger.store.outgoing_tables import imagen_usage
from imagen.ledger.store.tables import attempts
from tests.chaos.purchase_timeline import Act, timeline_of
from tests.fakes.replicate import FakeReplicate
from tests.processes.environment import Environment

#: What flux-schnell costs: one image.
PRICE_USD = Decimal("0.003")


@dataclass
class PurchaseAudit:
    """The provider's records beside the ledger's."""

    #: Every prediction that was ever created.
    created: int
    billed_usd: Decimal
    #: What the provider was asked, by kind of call.
    calls: Counter[str]
    breaches: list[str] = field(default_factory=list)

    def check_empty(self, what: str, found: set[str]) -> None:
        """Add a breach that names the first of ``found``, unless there are none."""
        if found:
            self.breaches.append(f"{len(found)} {what}: {', '.join(sorted(found)[:5])}")


def audit_purchases(
    environment: Environment, fake: FakeReplicate, *, acts: Sequence[Act] = ()
) -> PurchaseAudit:
    """Compare the ledger with what the provider has created. No process may be at work any more.

    ``acts`` are what was done to the workers; they stand in the breaches about one prediction.
    """
    with environment.ledger.read() as connection:
        rows = connection.execute(
            select(attempts.c.external_id, attempts.c.state).where(
                attempts.c.external_id.is_not(None)
            )
        ).all()
        billed = connection.scalar(select(func.sum(imagen_usage.c.cost_usd_estimate)))
    made = {one.id for one in fake.world.made.values()}
    owners = Counter(row.external_id for row in rows)
    drawn = {row.external_id for row in rows if row.state == AttemptState.DRAWN}
    submitted = environment.submitted
    found = PurchaseAudit(len(made), Decimal(billed or 0), Counter(fake.stats()["calls"]))
    if found.created != submitted:
        found.breaches.append(f"{found.created} predictions were paid for {submitted} jobs")
    found.check_empty("predictions without an attempt", made - set(owners))
    found.check_empty("predictions of two attempts", {one for one, n in owners.items() if n > 1})
    found.check_empty("predictions whose image was not fetched", made - drawn)
    for one in sorted(made - set(owners)):
        found.breaches.append(timeline_of(one, environment, fake, acts=acts))
    expected = PRICE_USD * submitted
    if abs(found.billed_usd - expected) > Decimal("0.0001"):
        found.breaches.append(f"${found.billed_usd} are on record instead of ${expected}")
    return found
