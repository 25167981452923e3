"""Fetches the image a prediction made: from the allowed hosts only, without a token, whole."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from imagen.backends.replicate.settings import ReplicateSettings
from imagen.backends.replicate.waiting import Tick, pause
from imagen.errors import BackendRejected
from imagen.http.exchange import Limits, TooLarge, Unanswered, open_answer, read_bounded
from imagen.http.session import new_session
from imagen.images.verify import MAX_IMAGE_BYTES, BrokenImage, ImageInfo, inspect_image

_TRIES = 4
_FIRST_BACKOFF_S = 0.25
_LIMITS = Limits(connect_s=10.0, stall_s=15.0, whole_s=60.0)
_MAX_REDIRECTS = 3


class Undelivered(Exception):
    """The image is there, but could not be fetched whole this time; says why."""


class Downloader:
    """Fetches outputs for one backend. Threads share it."""

    def __init__(self, settings: ReplicateSettings) -> None:
        self._hosts = settings.download_hosts
        # Plain http is for a fake of Replicate on this machine, and for nothing else.
        self._allows_http = settings.is_local
        self._session = new_session(uses_proxies=not settings.is_local, hosts=4, connections=64)

    def fetch(self, url: str, tick: Tick) -> tuple[bytes, ImageInfo]:
        """The bytes behind an output's URL (https or data), known to be one whole image.

        Tries a few times, for some seconds between them and at most a minute each.

        Raises:
            Undelivered: every try failed.
            BackendRejected: the URL leads to where nothing is fetched from.
        """
        reason = ""
        for number in range(_TRIES):
            if number:
                pause(_FIRST_BACKOFF_S * 4 ** (number - 1), tick)
            try:
                data = read_data_url(url) if url.startswith("data:") else self._get(url, tick)
                return data, inspect_image(data)
            except (BrokenImage, Undelivered) as exc:
                reason = str(exc)
        raise Undelivered(reason)

    def close(self) -> None:
        self._session.close()

    def _get(self, url: str, tick: Tick) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            self._require_allowed(url)
            try:
                with open_answer(self._session, "GET", url, limits=_LIMITS) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers["Location"])
                        continue
                    if response.status_code != 200:
                        raise Undelivered(f"the download answered {response.status_code}")
                    return read_bounded(response, MAX_IMAGE_BYTES, each=tick)
            except (Unanswered, TooLarge) as exc:
                raise Undelivered(f"the download failed: {exc}") from None
        raise Undelivered("the download was redirected too often")

    def _require_allowed(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise BackendRejected("Replicate's output is no URL that can be read") from None
        is_known = any(_is_at_or_below(host, port, allowed) for allowed in self._hosts)
        is_secure = parts.scheme == "https" or (self._allows_http and parts.scheme == "http")
        if is_known and is_secure and not parts.username and not parts.password:
            return
        raise BackendRejected(
            f"Replicate's output is at {parts.scheme}://{host}, from where nothing is fetched",
            f"allowed are https and: {', '.join(self._hosts)} (download_hosts)",
        )


def _is_at_or_below(host: str, port: int | None, allowed: str) -> bool:
    """``allowed`` is a host, or host:port; without one only the scheme's own port will do."""
    name, _, number = allowed.partition(":")
    if number:
        return host == name and str(port) == number
    return port in (None, 443) and (host == name or host.endswith(f".{name}"))


def read_data_url(url: str) -> bytes:
    """The bytes in a data URL, whatever type it claims (it was seen to claim none of an image).

    Raises:
        Undelivered: it cannot be decoded, or is too large.
    """
    head, comma, payload = url.partition(",")
    if not comma or len(payload) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise Undelivered("the output's data URL is damaged or too large")
    if not head.endswith(";base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode(unquote_to_bytes(payload), validate=True)
    except binascii.Error:
        raise Undelivered("the output's data URL is damaged") from None


def output_urls(output: Any) -> tuple[str, ...]:
    """The URLs in a prediction's output: a string, a list of them, or an object with one."""
    if isinstance(output, str):
        return (output,) if output else ()
    if isinstance(output, Mapping):
        return output_urls(output.get("url") or output.get("image") or output.get("images"))
    if isinstance(output, list):
        return tuple(url for one in output for url in output_urls(one))
    return ()
