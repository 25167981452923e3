"""Refusals that every service of a Supabase project has in common.

No message repeats what the server wrote: its texts quote rows, and so prompts.
"""

from __future__ import annotations

from imagen.cloud.settings import KEY_VARIABLES, SupabaseSettings
from imagen.errors import CloudError

MIGRATE_HINT = (
    "run what `imagen db sql` prints in the project's SQL editor,"
    " or `imagen db upgrade` on its database"
)


def key_refused(settings: SupabaseSettings, *, status: int) -> CloudError:
    """The key is wrong, revoked, expired, or no service key."""
    return CloudError(
        f"Supabase refused the key in {settings.key_variable} ({status})",
        f"set {' or '.join(KEY_VARIABLES)} to the secret key of the project at {settings.url}",
    )


def refusal_by_status(status: int, settings: SupabaseSettings, *, name: str) -> CloudError:
    """The error that the HTTP status alone means, where the body says no more."""
    who = f"{name} at {settings.url}"
    if status in (401, 403):
        return key_refused(settings, status=status)
    # Source: supabase.com/docs/guides/platform/http-status-codes (read 2026-11) for 402 and 540.
    if status == 402:
        return CloudError(
            "the Supabase project is restricted: a quota or a bill (402)",
            "see the organization's usage and billing in the Supabase dashboard",
        )
    if status == 540:
        return CloudError(
            "the Supabase project is paused (540)",
            "restore it in the Supabase dashboard",
            True,
        )
    if status == 429:
        return CloudError(f"{who} asked to slow down (429)", "", True)
    if status in (408, 423) or status >= 500:
        return CloudError(f"{who} cannot do it now ({status})", "", True)
    if 300 <= status < 400:
        return CloudError(
            f"{who} redirects elsewhere ({status})", "set SUPABASE_URL to the final address"
        )
    if status in (404, 405) or status < 300:
        return not_supabase(settings, name=name, status=status)
    return CloudError(f"{who} refused the request ({status})")


def not_supabase(settings: SupabaseSettings, *, name: str, status: int) -> CloudError:
    """Another server answers at that address, or a network's login page."""
    return CloudError(
        f"what answers at {settings.url} is not {name} ({status})",
        "check SUPABASE_URL: https://YOUR-PROJECT.supabase.co",
    )
