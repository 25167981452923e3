"""Delivers what waits for one host, as one process of that host."""

from __future__ import annotations

from dataclasses import dataclass

from imagen.domain.scope import EVERYTHING, Scope
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.leases.lease_holder import LeaseHolder


@dataclass(frozen=True)
class HostDelivery:
    """Claims generated jobs of the holder's host and delivers them."""

    delivery: DeliveryService
    holder: LeaseHolder

    def deliver_some(self, scope: Scope = EVERYTHING) -> list[ClaimOutcome]:
        """Deliver up to 64 jobs of ``scope``; the list is empty when none waits.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        claimant = self.holder.claimant(scope=scope)
        return self.delivery.deliver_next(claimant, host=self.holder.host)
