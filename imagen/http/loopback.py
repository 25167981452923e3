"""Tells from a host's name or number alone whether it is this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host name certainly means this machine; no name server is asked."""
    name = host.lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        # Names below "localhost" are never resolved elsewhere. Source: RFC 6761, section 6.3.
        return name == "localhost" or name.endswith(".localhost")


def is_loopback_url(url: str) -> bool:
    """Whether the host of ``url`` is this machine; false for a URL that cannot be read."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
