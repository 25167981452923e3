"""``imagen worker``: draws whatever waits, until told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from imagen.cli.options.options import config_option
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.shell import Shell
from imagen.errors import ConfigError, OutOfCredit

if TYPE_CHECKING:
    from imagen.services.draw.circuit import Circuits
    from imagen.wiring.bootstrap import Imagen

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
    with shell.imagen(config) as imagen:
        if imagen.has_broker:
            _serve_queue(role, concurrency=concurrency, config=config)
        else:
            _serve_ledger(shell, imagen, role, concurrency=concurrency)


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
    shell: Shell, imagen: Imagen, role: str | None, *, concurrency: int | None
) -> None:
    """Serve the ledger itself: nothing else needs to run."""
    from imagen.ledger.jobs.worker_rows import report_worker, sign_off_worker

    names = imagen.registry.names()
    threads = _threads(imagen, role, concurrency)

    def report(circuits: Circuits | None = None) -> None:
        report_worker(
            imagen.ledger,
            imagen.owner,
            host=imagen.host,
            role=role or "all",
            queues=sorted(threads),
            backends=names,
            open_circuits=circuits.all_open() if circuits else (),
        )

    report()
    log.info("worker_started", extra={"role": role or "all", "threads": threads})
    try:
        while True:
            _draw_until_stopped(shell, imagen, threads, report)
    except Interrupted:
        # Stopping is how a worker ends: a service manager must not see a failure in it.
        log.info("worker_stopped")
    finally:
        sign_off_worker(imagen.ledger, imagen.owner)


def _draw_until_stopped(
    shell: Shell, imagen: Imagen, threads: Mapping[str, int], report: Callable[[Circuits], None]
) -> None:
    """Draw until a signal comes, or an account is empty: then its backend is paused by now, and
    the others' jobs go on.

    Raises:
        Interrupted: there was a signal; what ran is finished, or given back.
        LedgerError: the ledger went away.
    """
    from imagen.domain.scope import Scope

    executor = imagen.local_executor()
    executor.concurrency = threads
    executor.heartbeat.on_beat = partial(report, executor.drawing.circuits)
    grace_s = imagen.config.workers.grace_s
    with shell.interrupt.stopping(lambda: executor.stop(grace_s=grace_s)):
        try:
            executor.run(Scope(delivery_host=imagen.host), forever=True)
        except OutOfCredit as error:
            log.error("out_of_credit", extra={"why": str(error)})


def _threads(imagen: Imagen, role: str | None, concurrency: int | None) -> dict[str, int]:
    """Drawing threads by queue; none for a role that only delivers."""
    if role == "results":
        return {}
    usual = imagen.local_executor().concurrency
    queues = list(usual) if role is None else imagen.queues_of_role(role)
    return {queue: concurrency or usual.get(queue, 2) for queue in queues}
