"""Prints what a scenario has done and what was found after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.chaos.purchase_audit import PurchaseAudit
from tests.chaos.recovery import RecoveredJob, percentile
from tests.chaos.scenario import Result, Scenario
from tests.chaos.steady_faults import CrashCounts, count_crashes


def report(name: str, scenario: Scenario, result: Result) -> int:
    """Print the figures; returns 1 where something is wrong, else 0."""
    found = result.audit
    print(f"\n{name}, seed {scenario.seed}, {scenario.database}, {result.seconds:.0f} s")
    print(f"  jobs {found.jobs}, images {found.images}, sidecars {found.sidecars}")
    print(f"  paid calls {found.calls}, attempts {_counts(found.attempts)}")
    print(f"  done to it: {_counts(result.pool.counts)}")
    print(f"  kill points died at: {len(set(result.pool.died_at))}")
    print(f"  crashes counted {found.crashes}, messages left for jobs that have ended:")
    print(f"    {found.unacked} fetched by dead workers, {found.stale_messages} in queues")
    _print_recoveries(result.recovery.recovered)
    if result.purchases is not None:
        _print_purchases(result.purchases)
    crashes = count_crashes(result.jobs)
    if crashes.crashes:
        return _report_crashing_jobs(crashes)
    for breach in result.breaches:
        print(f"  BREACH: {breach}")
    print(f"  {'NOT GOOD' if result.breaches else 'nothing lost, doubled or left behind'}")
    return 1 if result.breaches else 0


def _report_crashing_jobs(crashes: CrashCounts) -> int:
    print(f"  jobs that kill their workers: {_counts(crashes.ends)}, crashes {crashes.crashes}")
    print(
        f"  other jobs that failed for it: {crashes.failed_others};"
        f" that ran alone: {crashes.isolated_others}"
    )
    return 1 if crashes.failed_others else 0


def _print_purchases(found: PurchaseAudit) -> None:
    print(f"  predictions created {found.created}, on record ${found.billed_usd}")
    print(f"  calls: {_counts(found.calls)}")


def _print_recoveries(recovered: Sequence[RecoveredJob]) -> None:
    for state, what in (("running", "drawn"), ("generated", "delivered")):
        seconds = [each.seconds for each in recovered if each.state == state]
        print(
            f"  interrupted while {what}: {len(seconds)}, held again after"
            f" p50 {percentile(seconds, 0.5):.2f} s, p95 {percentile(seconds, 0.95):.2f} s,"
            f" at most {max(seconds, default=float('nan')):.2f} s"
        )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(counts.items())) or "none"
