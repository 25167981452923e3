"""Where usage rows and images go when the environment names a Supabase project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from imagen.cloud.settings import read_settings
from imagen.errors import ConfigError, CredentialError
from imagen.ledger.store.engine import Ledger
from imagen.wiring.process import Process

if TYPE_CHECKING:
    from imagen.services.sync.send import OutboxSender, Sink
    from imagen.services.sync.usage_upload import RemoteUsageTable


def make_outbox_sender(process: Process, ledger: Ledger) -> OutboxSender:
    """Sends what waits in the outbox to the destinations that are configured here.

    Where SUPABASE_URL or its key cannot be what they should be, it sends nothing and gives that as
    the reason: no image is lost for it.
    """
    from imagen.services.sync.send import OutboxSender

    why = f"set {process.missing_for_supabase}" if process.missing_for_supabase else ""
    sinks: dict[str, Sink] = {}
    try:
        sinks = _sinks(process, ledger)
    except (ConfigError, CredentialError) as error:
        why = str(error)
    return OutboxSender(ledger, process.owner, sinks, missing=why)


def remote_usage_table(process: Process) -> RemoteUsageTable | None:
    """The usage table outside the ledger; None where there is none.

    Raises:
        ConfigError, CredentialError: SUPABASE_URL or its key cannot be what they should be.
    """
    settings = read_settings(process.env)
    if settings is None or not process.sends_usage:
        return None
    from imagen.cloud.rest import RestClient
    from imagen.services.sync.usage_upload import RemoteUsageTable

    return RemoteUsageTable(RestClient(settings))


def _sinks(process: Process, ledger: Ledger) -> dict[str, Sink]:
    settings = read_settings(process.env)
    if settings is None:
        return {}
    from imagen.cloud.rest import RestClient
    from imagen.cloud.storage import Storage
    from imagen.ledger.outbox.supabase_rows import put_image
    from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK
    from imagen.services.sync.image_upload import ImageUploads, image_rows_over
    from imagen.services.sync.usage_upload import RemoteUsageTable, UsageInLedger

    rest = RestClient(settings)
    is_here = process.is_ledger_in_project
    put_row = partial(put_image, ledger) if is_here else image_rows_over(rest)
    return {
        USAGE_SINK: UsageInLedger() if is_here else RemoteUsageTable(rest),
        CLOUD_SINK: ImageUploads(ledger, Storage(settings), put_row, process.config.owner_user_id),
    }
