"""What every wired process stands on: configuration, ledger, backends, lock file, sinks."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.backends.adapter import AdapterContext
from imagen.backends.installed import InstalledAdapters
from imagen.backends.registry import Registry
from imagen.cloud.settings import missing_variables, project_ref, read_settings
from imagen.config.schema import Config
from imagen.domain.protocols import Limiter
from imagen.errors import ConfigError, CredentialError, ImagenError, LedgerError
from imagen.ledger.outbox.outbox import give_back_outgoing, outgoing_owners
from imagen.ledger.queries.history import AttemptHistory, NoHistory
from imagen.ledger.store.engine import Ledger, open_ledger
from imagen.ledger.store.migrate import ensure_schema
from imagen.services.leases.clock import SystemClock
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.leases.process_lock import ProcessLock, dead_among, enter, new_owner
from imagen.services.report.check_config import backend_specs
from imagen.services.submit.caller import resolve_caller
from imagen.services.submit.resolve import SubmitContext

if TYPE_CHECKING:
    from imagen.services.submit.delivery_folders import DeliveryFolders
    from imagen.services.sync.destinations import UsageOverRest
    from imagen.services.sync.send import Sink, Sync


class Foundation:
    """One process's ground floor; each part is made when it is first asked for."""

    def __init__(self, config: Config, env: Mapping[str, str]) -> None:
        self.config = config
        self.env = env
        self.host = env.get("IMAGEN_HOST") or socket.gethostname()
        self.owner = new_owner(self.host)
        self.clock = SystemClock()
        self._presence: ProcessLock | None = None
        self._heartbeat: Heartbeat | None = None
        self._may_hold_outgoing = False

    @property
    def has_broker(self) -> bool:
        """Whether workers draw; if not, this process does it all."""
        return bool(self.config.queue.broker_url)

    @cached_property
    def state_folder(self) -> Path:
        """Where this user's ledger and lock files stand: the XDG state directory."""
        home = self.env.get("HOME") or str(Path.home())
        base = self.env.get("XDG_STATE_HOME") or str(Path(home, ".local", "state"))
        return Path(base, "imagen")

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, with the schema this program knows.

        Raises:
            LedgerError: it cannot be used as it is; the message says what to do.
        """
        ledger = self.open_ledger()
        try:
            ensure_schema(ledger)
        except ImagenError:
            ledger.close()
            raise
        return ledger

    def open_ledger(self) -> Ledger:
        """The ledger as it is, whatever its schema."""
        return open_ledger(self.config.database.url, default_path=self.state_folder / "ledger.db")

    @cached_property
    def adapters(self) -> InstalledAdapters:
        return InstalledAdapters()

    @cached_property
    def registry(self) -> Registry:
        return self._registry_with(AttemptHistory(self.ledger))

    def registry_without_ledger(self) -> Registry:
        """The backends to be looked at while the ledger cannot be used; none of them may draw."""
        return self._registry_with(NoHistory())

    def _registry_with(self, history: AttemptHistory | NoHistory) -> Registry:
        limiter = _LazyLimiter(self.config.queue.broker_url)
        context = AdapterContext(self.env, limiter, history, history)
        specs = backend_specs(self.config, self.adapters)
        return Registry(specs, context, self.adapters)

    def submit_context(self) -> SubmitContext:
        """What this shell and the configuration add to every request."""
        output = self.config.output
        return SubmitContext(
            default_backend=self.config.default_backend,
            style_of=self.config.style,
            output_folder=Path(output.dir).expanduser().absolute(),
            naming=output.naming,
            format=output.format,
            sidecar=output.sidecar,
            metadata=output.metadata,
            caller=resolve_caller(self.env),
            delivery_host=self.host,
            owner_user_id=self.config.owner_user_id,
            sync=output.cloud_sync,
        )

    @property
    def has_supabase(self) -> bool:
        """Whether the environment names a Supabase project, as far as its variables are set."""
        return not missing_variables(self.env)

    @property
    def missing_for_supabase(self) -> str:
        """The variables that are to be set first, for people; "" where they are set."""
        return " and ".join(missing_variables(self.env))

    @cached_property
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
        """Whether usage rows go to a table that is not in the ledger, through the outbox."""
        return self.has_supabase and not self.is_ledger_in_project

    def free_outbox(self) -> None:
        """Give back what processes of this host held in the outbox when they died."""
        owners = outgoing_owners(self.ledger)
        give_back_outgoing(self.ledger, dead_among(self.presence_folder, owners))

    def sync(self, *, should_stop: Callable[[], bool] = lambda: False) -> Sync:
        """Sends what waits in the outbox, through what is configured here.

        Where SUPABASE_URL or its key cannot be what they should be, it sends nothing and gives
        that as the reason: an image is not lost for it.
        """
        from imagen.services.sync.send import Sync

        missing = self.missing_for_supabase
        why = f"set {missing}" if missing else ""
        sinks: dict[str, Sink] = {}
        try:
            sinks = self._sinks()
        except (ConfigError, CredentialError) as error:
            why = str(error)
        ledger = self.ledger
        self._may_hold_outgoing = True
        return Sync(ledger, self.owner, self.clock, sinks, missing=why, should_stop=should_stop)

    def usage_sink(self) -> UsageOverRest | None:
        """The usage table that is not in the ledger, or nothing where there is none.

        Raises:
            ConfigError, CredentialError: SUPABASE_URL or its key cannot be what they should be.
        """
        settings = read_settings(self.env)
        if settings is None or not self.sends_usage:
            return None
        from imagen.cloud.rest import RestClient
        from imagen.services.sync.destinations import UsageOverRest

        return UsageOverRest(RestClient(settings))

    def _sinks(self) -> dict[str, Sink]:
        settings = read_settings(self.env)
        if settings is None:
            return {}
        from functools import partial

        from imagen.cloud.rest import RestClient
        from imagen.cloud.storage import Storage
        from imagen.ledger.outbox.images import put_image
        from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK
        from imagen.services.sync.destinations import (
            CloudCopies,
            UsageInLedger,
            UsageOverRest,
            image_rows_over,
        )

        rest = RestClient(settings)
        is_here = self.is_ledger_in_project
        put_row = partial(put_image, self.ledger) if is_here else image_rows_over(rest)
        return {
            USAGE_SINK: UsageInLedger() if is_here else UsageOverRest(rest),
            CLOUD_SINK: CloudCopies(
                self.ledger, Storage(settings), put_row, self.config.owner_user_id
            ),
        }

    @property
    def presence_folder(self) -> Path:
        """Where this user's processes on this host keep their lock files."""
        return self.state_folder / "owners"

    def allowed_dirs(self) -> list[Path]:
        """Where a results worker may write: as configured, else home and the temporary folder."""
        configured = self.own_allowed_dirs()
        return [Path.home(), Path(tempfile.gettempdir())] if configured is None else configured

    def own_allowed_dirs(self) -> list[Path] | None:
        """Where a user's own command may write: as configured, else None, which is anywhere."""
        configured = self.config.results.allowed_dirs
        return None if configured is None else [Path(each).expanduser() for each in configured]

    def delivery_folders(self) -> DeliveryFolders:
        """Where the images of the jobs that this process submits may be written."""
        from imagen.services.submit.delivery_folders import delivery_folders, own_folders

        if not self.has_broker:
            return own_folders(self.own_allowed_dirs())
        return delivery_folders(
            self.ledger,
            host=self.host,
            own=self.own_allowed_dirs(),
            within_s=self.config.workers.lease_s,
            presence_folder=self.presence_folder,
        )

    def close(self) -> None:
        """Let go of everything; leases of jobs that are still held run out."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        gave_back = self._give_back_outgoing()
        if "registry" in self.__dict__:
            self.registry.close()
        if "ledger" in self.__dict__:
            self.ledger.close()
        # Without its lock file others would wait for the leases in the outbox to run out.
        if self._presence is not None and gave_back:
            self._presence.leave()

    def _give_back_outgoing(self) -> bool:
        """Let others send at once what a thread of this process may still be sending.

        Says whether nothing is held any more.
        """
        if not self._may_hold_outgoing:
            return True
        try:
            give_back_outgoing(self.ledger, [self.owner])
        except LedgerError:
            return False
        return True

    def hold_lock_file(self) -> None:
        """Take this process's lock file, which tells others that it is alive, until the end.

        Raises:
            ConfigError: nothing can be written to the state folder.
        """
        if self._presence is None:
            self._presence = enter(self.presence_folder, self.owner)

    def _started_heartbeat(self) -> Heartbeat:
        """The heartbeat of a command, with this process's lock file beside it."""
        if self._heartbeat is None:
            self.hold_lock_file()
            self._heartbeat = self._new_heartbeat()
            self._heartbeat.start()
        return self._heartbeat

    def _new_heartbeat(self) -> Heartbeat:
        workers = self.config.workers
        return Heartbeat(
            self.ledger, self.owner, workers.lease_s, workers.heartbeat_every_s, self.clock
        )


class _LazyLimiter:
    """A ``Limiter`` that costs nothing until a backend asks: importing `limits` takes 70 ms."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    @cached_property
    def _shared(self) -> Limiter:
        from imagen.ratelimit import make_limiter

        return make_limiter(self._redis_url)

    def wait(self, key: str, limits: tuple[str, ...], *, timeout_s: float) -> None:
        self._shared.wait(key, limits, timeout_s=timeout_s)
