"""Shell completion: names from the configuration, ids from the ledger.

Completion prints nothing into the line that is being typed, so every error here is suppressed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagen.config.schema import Config
    from imagen.wiring.parts import Ledger

_MOST_IDS = 50


def backend_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The configured backends."""
    with contextlib.suppress(Exception):
        return _beginning(incomplete, _config(context).backends)
    return []


def style_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The configured styles."""
    with contextlib.suppress(Exception):
        return _beginning(incomplete, _config(context).styles)
    return []


def batch_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The batches that the ledger knows."""
    with contextlib.suppress(Exception):
        from imagen.services.report.job_list import newest_batches

        with _ledger(context) as ledger:
            return _beginning(incomplete, newest_batches(ledger))
    return []


def job_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The newest jobs, whole ids: beginnings that tell them apart are long anyway."""
    with contextlib.suppress(Exception):
        from imagen.services.report.job_list import newest_jobs

        with _ledger(context) as ledger:
            found = newest_jobs(ledger, limit=_MOST_IDS)
            return _beginning(incomplete, (str(job.id) for job in found.jobs))
    return []


def _ledger(context: click.Context) -> AbstractContextManager[Ledger]:
    """The ledger as it is: completion makes no tables."""
    from imagen.wiring.parts import unchecked_ledger
    from imagen.wiring.process import make_process

    return unchecked_ledger(make_process(_config(context), os.environ))


def _config(context: click.Context) -> Config:
    from imagen.config.load import find_config, load_config

    named = context.params.get("config")
    return load_config(find_config(named, os.environ), os.environ)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    # A name with a control character or a line end could not be typed, and would be obeyed.
    return [name for name in names if name.startswith(incomplete) and name.isprintable()]
