"""Flower, the live view of the queue: ``celery -A workers.monitor flower``.

Reads no ledger, so that it goes on when the database is away. Flower reads its options
from ``FLOWER_…`` variables; those that are not set get careful values here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from imagen.config.load import find_config, load_config
from imagen.errors import ConfigError, CredentialError, ImagenError
from imagen.queue.broker.app import make_app

if TYPE_CHECKING:
    from celery import Celery

_AUTH = "FLOWER_BASIC_AUTH"

_SAFE_VALUES = {
    # Flower's own default is every interface. Source: flower 2.2.0, options.py.
    "FLOWER_ADDRESS": "127.0.0.1",
    # Jobs are canceled in the ledger (`imagen jobs cancel`); revoking a wake-up has no effect.
    "FLOWER_READ_ONLY": "true",
    # Some 40 MB; the history of everything is in the ledger. The default is 100,000.
    "FLOWER_MAX_TASKS": "10000",
    # Each start of a worker has another name: forget those that went an hour ago.
    "FLOWER_PURGE_OFFLINE_WORKERS": "3600",
    # The request and its outcome first, narrow enough for a screen.
    "FLOWER_TASKS_COLUMNS": "args,state,uuid,received,runtime,worker",
}


def monitor_app(env: MutableMapping[str, str]) -> Celery:
    """The application that Flower watches; completes its options in ``env``.

    Raises:
        CredentialError: no user and password are set for the page.
        ConfigError: the configuration is wrong, or names no broker.
    """
    _require_password(env.get(_AUTH, ""))
    for name, value in _SAFE_VALUES.items():
        env.setdefault(name, value)
    broker_url = load_config(find_config(None, env), env).queue.broker_url
    if not broker_url:
        raise ConfigError("Flower watches a queue, and there is none", "set IMAGEN_BROKER_URL")
    return make_app(broker_url)


def _require_password(auth: str) -> None:
    # Flower splits at commas and takes each part for the credentials of a user: with a comma in the
    # password its second half alone would be accepted. Observed on flower 2.2.0.
    pairs = [entry.partition(":") for entry in auth.split(",")]
    if not all(user and password for user, _, password in pairs):
        raise CredentialError(
            f"Flower does not start without a password: {_AUTH} is not 'user:password'",
            f"set {_AUTH} to a name, a colon and a password without commas",
        )


try:
    app = monitor_app(os.environ)
except ImagenError as error:
    print(f"imagen: {error}", file=sys.stderr)  # noqa: T201
    raise SystemExit(error.exit_code) from error

if __name__ == "__main__":
    app.start(["flower", *sys.argv[1:]])
