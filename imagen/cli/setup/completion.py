"""What the shell offers on Tab: names from the configuration, ids from the ledger.

Completion must never disturb a line that somebody is typing, so every error here is silence.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagen.config.schema import Config

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
        from imagen.ledger.queries.batches import batch_names as names_in
        from imagen.wiring.bootstrap import Imagen

        imagen = Imagen(_config(context), os.environ)
        return _beginning(incomplete, names_in(imagen.open_ledger()))
    return []


def job_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The newest jobs, whole ids: prefixes that a human can tell apart are long anyway."""
    with contextlib.suppress(Exception):
        from imagen.ledger.queries.jobs import Filter, list_jobs
        from imagen.wiring.bootstrap import Imagen

        ledger = Imagen(_config(context), os.environ).open_ledger()
        found = list_jobs(ledger, Filter(), limit=_MOST_IDS)
        return _beginning(incomplete, (str(job.id) for job in found))
    return []


def _config(context: click.Context) -> Config:
    from imagen.config.load import find_config, load_config

    named = context.params.get("config")
    return load_config(find_config(named, os.environ), os.environ)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return list(_matching(incomplete, names))


def _matching(incomplete: str, names: Iterable[str]) -> Iterator[str]:
    # A name with a control character or a line end could not be typed, and would be obeyed.
    return (name for name in names if name.startswith(incomplete) and name.isprintable())
