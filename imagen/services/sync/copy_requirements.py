"""Checks before anything is drawn that copies which must be uploaded can be."""

from __future__ import annotations

from collections.abc import Mapping

from imagen.cloud.settings import missing_variables, read_settings
from imagen.config.schema import Config
from imagen.errors import ConfigError


def require_uploads(config: Config, env: Mapping[str, str], *, sync: str) -> None:
    """Return when copies need not be uploaded from here (``sync`` is not ``on``), or can be.

    With a broker the results worker uploads: what is missing there is told on the job.

    Raises:
        ConfigError, CredentialError: what is missing.
    """
    if sync != "on" or config.queue.broker_url:
        return
    why = f"cloud_sync is on ({config.where(('output', 'cloud_sync'))}), but"
    if not config.owner_user_id:
        raise ConfigError(
            f"{why} owner_user_id is not set",
            "set it to your user id in the Supabase project, or draw with --no-cloud",
        )
    if missing := " and ".join(missing_variables(env)):
        raise ConfigError(
            f"{why} there is no Supabase project", f"set {missing}, or draw with --no-cloud"
        )
    read_settings(env)
