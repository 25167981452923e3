"""Names whose values are secrets, and what is shown instead of the value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

#: What is recorded and shown of a secret.
SET = "(set)"

_NAMES = frozenset(
    {
        *("token", "password", "passwd", "passphrase", "secret", "bearer", "authorization"),
        *("credential", "credentials"),
    }
)
_ENDINGS = (
    *("token", "password", "passwd", "passphrase", "secret"),
    *("api_key", "apikey", "access_key", "secret_key", "private_key", "credentials"),
)


def is_secret_name(name: str) -> bool:
    """Whether an option or a setting of this name would hold a secret."""
    plain = name.strip().lower().replace("-", "_")
    return plain in _NAMES or plain.endswith(_ENDINGS)


def hide_secrets(options: Mapping[str, Any], *, names: Collection[str] = ()) -> dict[str, Any]:
    """The options without secrets; ``names`` are further options whose values are secrets."""
    return {
        name: SET if name in names or is_secret_name(name) else value
        for name, value in options.items()
    }
