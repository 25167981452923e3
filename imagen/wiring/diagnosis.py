"""Looks at everything that a process with this configuration would work with."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from imagen.ledger.store.engine import Ledger
from imagen.services.report.diagnose import (
    Finding,
    describe_ledger,
    describe_workers,
    examine,
    examine_backends,
    examine_folder,
    examine_outages,
    examine_pauses,
    examine_preview,
    examine_supabase,
)
from imagen.wiring.parts import opened_ledger, opened_registry
from imagen.wiring.process import Process


def diagnose(process: Process) -> list[Finding]:
    """What was found about ledger, output folder, broker, workers, backends and Supabase.

    Draws nothing and costs nothing; takes some seconds where a server does not answer.
    """
    output = process.config.output
    with ExitStack() as stack:
        ledger, found = _look_at_ledger(stack, process)
        found.append(examine_folder(Path(output.dir).expanduser().absolute()))
        if process.has_broker:
            found += _look_at_broker(process, ledger)
        registry = stack.enter_context(opened_registry(process, ledger))
        found += examine_backends(registry, default=process.config.default_backend)
    found += examine_supabase(process.env, cloud_sync=output.cloud_sync)
    return [
        *found,
        *examine_preview(output.preview, command=output.preview_command, env=process.env),
    ]


def _look_at_ledger(stack: ExitStack, process: Process) -> tuple[Ledger | None, list[Finding]]:
    """The ledger where it can be used, and what was found about it."""
    usable: list[Ledger] = []

    def look() -> str:
        ledger = stack.enter_context(opened_ledger(process))
        text = describe_ledger(ledger, sends_usage=process.sends_usage)
        usable.append(ledger)
        return text

    found = [examine("ledger", look)]
    if not usable:
        return None, found
    return usable[0], [*found, *examine_pauses(usable[0])]


def _look_at_broker(process: Process, ledger: Ledger | None) -> list[Finding]:
    from imagen.queue.broker.connection import ping

    lease_s = process.config.workers.lease_s

    def look_at_workers() -> str:
        with opened_ledger(process) as opened:
            return describe_workers(opened, within_s=lease_s)

    return [
        examine("broker", lambda: ping(process.config.queue.broker_url)),
        examine("workers", look_at_workers),
        *([] if ledger is None else examine_outages(ledger, within_s=lease_s)),
    ]
