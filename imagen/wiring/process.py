"""What one process is: its configuration, its environment, its name, and what follows from them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagen.cloud.settings import missing_variables, project_ref
from imagen.config.load import find_config, load_config
from imagen.config.schema import Config
from imagen.domain.protocols import Clock
from imagen.services.leases.clock import SystemClock
from imagen.services.leases.lease_holder import LeaseHolder
from imagen.services.leases.process_lock import new_owner


@dataclass(frozen=True)
class Process:
    """Values only: nothing is opened, connected or written to make one."""

    config: Config
    env: Mapping[str, str]
    #: The name under which this host gets its results.
    host: str
    #: The owner of the leases that this process takes.
    owner: str
    clock: Clock = field(default_factory=SystemClock)

    @property
    def has_broker(self) -> bool:
        """Whether workers draw; if not, this process draws its jobs itself."""
        return bool(self.config.queue.broker_url)

    @property
    def holder(self) -> LeaseHolder:
        """This process as the ledger knows it."""
        return LeaseHolder(self.owner, self.host, self.config.workers.lease_s)

    @property
    def state_folder(self) -> Path:
        """Where this user's ledger and lock files are: the XDG state directory."""
        home = self.env.get("HOME") or str(Path.home())
        base = self.env.get("XDG_STATE_HOME") or str(Path(home, ".local", "state"))
        return Path(base, "imagen")

    @property
    def lock_folder(self) -> Path:
        """Where this user's processes on this host keep their lock files."""
        return self.state_folder / "owners"

    @property
    def own_allowed_dirs(self) -> list[Path] | None:
        """Where a user's own command may write: as configured, else None, which is anywhere."""
        configured = self.config.results.allowed_dirs
        return None if configured is None else [Path(each).expanduser() for each in configured]

    @property
    def worker_allowed_dirs(self) -> list[Path]:
        """Where a results worker may write: as configured, else home and the temporary folder."""
        configured = self.own_allowed_dirs
        return [Path.home(), Path(tempfile.gettempdir())] if configured is None else configured

    @property
    def threads_by_queue(self) -> dict[str, int]:
        """Drawing threads by queue: the configured number, and two for a queue of its own name."""
        concurrency = self.config.workers.concurrency
        usual = {"gpu": concurrency.gpu, "cloud": concurrency.cloud}
        named = {entry.queue for entry in self.config.backends.values() if entry.queue}
        return usual | {queue: usual.get(queue, 2) for queue in named}

    @property
    def missing_for_supabase(self) -> str:
        """The variables that are to be set before there is a Supabase project, as one phrase; ""
        when all are set."""
        return " and ".join(missing_variables(self.env))

    @property
    def has_supabase(self) -> bool:
        """Whether the environment names a Supabase project and a key."""
        return not self.missing_for_supabase

    @property
    def is_ledger_in_project(self) -> bool:
        """Whether the ledger is the database of the Supabase project: its tables are the project's.

        ``database.in_supabase`` decides; ``auto`` looks for the project's reference in the
        database's address, which only addresses of hosted projects contain.
        """
        if not self.config.database.url.startswith("postgres"):
            return False
        switch = self.config.database.in_supabase
        if switch != "auto":
            return switch == "on"
        reference = project_ref(self.env)
        return reference is not None and reference in self.config.database.url

    @property
    def sends_usage(self) -> bool:
        """Whether usage rows go to a table outside the ledger, through the outbox."""
        return self.has_supabase and not self.is_ledger_in_project


def make_process(config: Config, env: Mapping[str, str]) -> Process:
    """This process with that configuration; each call gives it an owner id of its own."""
    host = env.get("IMAGEN_HOST") or socket.gethostname()
    return Process(config, env, host, new_owner(host))


def open_process(explicit_config: str | None, env: Mapping[str, str]) -> Process:
    """This process, configured from ``--config`` or from where the configuration usually is.

    Raises:
        ConfigError: the configuration is wrong; every problem in one message.
    """
    return make_process(load_config(find_config(explicit_config, env), env), env)
