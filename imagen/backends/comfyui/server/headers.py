"""The headers a reverse proxy wants, read from one environment variable and never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagen.errors import CredentialError

_HEADER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.+)")
_SENDABLE = re.compile(r"[\x20-\x7e\t]+")


def read_headers(variable: str, env: Mapping[str, str]) -> dict[str, str]:
    """Headers by name: ``Name: value`` lines, or else a bearer token; none without a variable.

    Raises:
        CredentialError: the variable is not set, or its value cannot be sent.
    """
    if not variable:
        return {}
    value = env.get(variable, "").strip()
    if not value:
        raise CredentialError(
            f"environment variable {variable} (headers_env) is not set",
            f"set {variable} to the proxy's token or to 'Name: value' lines",
        )
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    # Checked here because requests would quote the value in its own complaint.
    if not all(_SENDABLE.fullmatch(line) for line in lines):
        raise CredentialError(
            f"environment variable {variable} (headers_env) has characters no header can carry",
            f"set {variable} to plain ASCII text",
        )
    matches = [_HEADER_LINE.fullmatch(line) for line in lines]
    if all(matches):
        return {match[1]: match[2] for match in matches if match}
    if len(lines) == 1:
        return {"Authorization": f"Bearer {value}"}
    raise CredentialError(
        f"environment variable {variable} (headers_env) has a line that is no 'Name: value'",
        f"set {variable} to the proxy's token or to 'Name: value' lines",
    )
