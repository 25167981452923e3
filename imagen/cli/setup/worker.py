"""``imagen worker``: draws waiting jobs until it is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import click

from imagen.cli.options.standard import config_option
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.shell import Shell
from imagen.errors import ConfigError, OutOfCredit

if TYPE_CHECKING:
    from imagen.local.local_executor import LocalExecutor
    from imagen.wiring.process import Process

log = logging.getLogger(__name__)


@click.command(short_help="Draw waiting jobs until told to stop.")
@click.argument("role", required=False, type=click.Choice(["gpu", "cloud", "results"]))
@click.option(
    "--concurrency", "-c", type=click.IntRange(1, 1000), metavar="N", help="Jobs at once."
)
@config_option
@click.pass_obj
def worker(shell: Shell, role: str | None, concurrency: int | None, config: str | None) -> None:
    """Draw and deliver waiting jobs until told to stop.

    Without a broker this looks at the ledger by itself, and a ROLE limits it to what such a
    worker serves: gpu and cloud draw, results only delivers. With a broker a ROLE is needed.

    SIGTERM lets what runs finish for a while (workers.grace_s), then gives it back.
    """
    from imagen.cli.screen.log import set_up_logging

    set_up_logging(shell, usual="info", for_journal=True)
    if shell.process(config).has_broker:
        _serve_queue(role, concurrency=concurrency, config=config)
    else:
        _serve_ledger(shell, role, concurrency=concurrency, config=config)


def _serve_queue(role: str | None, *, concurrency: int | None, config: str | None) -> None:
    """Serve the broker's queues with Celery, which handles its own signals."""
    from imagen.wiring.worker_programs import worker_program

    if role is None:
        raise ConfigError(
            "with a broker, a worker has a role",
            "imagen worker gpu, imagen worker cloud or imagen worker results",
        )
    worker_program(role, explicit_config=config).run(concurrency=concurrency)


def _serve_ledger(
    shell: Shell, role: str | None, *, concurrency: int | None, config: str | None
) -> None:
    """Draw what waits in the ledger, in this process; no other program needs to run."""
    from imagen.wiring.local_worker import local_worker, worker_threads

    with shell.backends(config) as (process, ledger, registry):
        threads = worker_threads(process, role, concurrency)
        with local_worker(process, ledger, registry, role=role, threads=threads) as new_executor:
            log.info("worker_started", extra={"role": role or "all", "threads": threads})
            try:
                while True:
                    _draw_until_stopped(shell, process, new_executor)
            except Interrupted:
                # A worker that is stopped has not failed: service managers look at the exit code.
                log.info("worker_stopped")


def _draw_until_stopped(
    shell: Shell,
    process: Process,
    new_executor: Callable[[], AbstractContextManager[LocalExecutor]],
) -> None:
    """Draw until a signal comes or an account has no credit left.

    In the second case its backends are paused by then, and the next call draws for the others.

    Raises:
        Interrupted: there was a signal; what ran is finished, or given back.
        LedgerError: the ledger went away.
    """
    from imagen.domain.scope import Scope

    with new_executor() as executor:
        stop = partial(executor.stop, grace_s=process.config.workers.grace_s)
        with shell.interrupt.stopping(stop):
            try:
                executor.run(Scope(delivery_host=process.host), forever=True)
            except OutOfCredit as error:
                log.error("out_of_credit", extra={"why": str(error)})
