"""A site as an administrator sets it up: each process has a PostgreSQL login of its own."""

from __future__ import annotations

import os
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.processes.commands import run_imagen, running

HOST = "desk"


@dataclass(frozen=True)
class Site:
    """A database, a Redis and a home folder with a configuration in it."""

    folder: Path
    postgres_url: str
    broker_url: str

    def env(self, login: str) -> dict[str, str]:
        """The environment variables of a process with that login."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "IMAGEN_CONFIG": str(self.folder / "imagen.yaml"),
            "IMAGEN_BROKER_URL": self.broker_url,
            "IMAGEN_DATABASE_URL": self.url(login),
            "IMAGEN_HOST": HOST,
        }

    def url(self, login: str) -> str:
        """The database's address for that login."""
        return self.postgres_url.replace("://postgres@", f"://{login}@")

    def imagen(self, *words: str, login: str = "somebody") -> subprocess.CompletedProcess[str]:
        return run_imagen(*words, cwd=self.folder, env=self.env(login))

    def sql(self, statement: str, *, login: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(login), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]  # made by a test
            return cursor.fetchall() if cursor.description else []

    def worker(self, role: str, *, login: str) -> AbstractContextManager[None]:
        """A worker with that login, until the block ends."""
        log = self.folder / f"{role}.log"
        return running(f"workers.{role}", log=log, cwd=self.folder, env=self.env(login))
