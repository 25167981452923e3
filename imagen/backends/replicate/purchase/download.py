"""Fetches the image a prediction made: from the allowed hosts only, without a token, whole."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from imagen.backends.replicate.api.rate_gate import Tick, pause
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.http.exchange import Limits, TooLarge, Unanswered, open_answer, read_bounded
from imagen.http.session import new_session
from imagen.images.verify import (
    MAX_IMAGE_BYTES,
    BrokenImage,
    ImageInfo,
    UnfitImage,
    inspect_image,
)

_TRIES = 4
_FIRST_BACKOFF_S = 0.25
_LIMITS = Limits(connect_s=10.0, stall_s=15.0, whole_s=60.0)
_MAX_REDIRECTS = 3
_HOSTS = 4
_CONNECTIONS = 64
_URL = re.compile(r"data:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CONTENT_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}", re.ASCII)


class DownloadFailed(Exception):
    """The image is there, but could not be fetched whole this time; says why."""


class OutputUnusable(Exception):
    """What is there is no image that can be taken, however often it is fetched; says why."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Fetched:
    data: bytes
    #: As the server names it, or "".
    content_type: str = ""


class Downloader:
    """Fetches outputs for one backend. Threads share it."""

    def __init__(self, settings: ReplicateSettings) -> None:
        self._hosts = settings.download_hosts
        # Plain http is for a fake of Replicate on this machine, and for nothing else.
        self._allows_http = settings.is_local
        self._session = new_session(
            uses_proxies=not settings.is_local, hosts=_HOSTS, connections=_CONNECTIONS
        )

    def fetch(self, url: str, tick: Tick) -> tuple[bytes, ImageInfo]:
        """The bytes behind an output's URL (https or data), known to be one whole image.

        Tries a few times, for some seconds between them and at most a minute each.

        Raises:
            DownloadFailed: every try failed.
            OutputUnusable: the URL leads to where nothing is fetched from, or to no image.
        """
        reason, broken = "", b""
        for number in range(_TRIES):
            if number:
                pause(_FIRST_BACKOFF_S * 4 ** (number - 1), tick)
            try:
                fetched = self._fetch_once(url, tick)
            except DownloadFailed as exc:
                reason = str(exc)
                continue
            try:
                return fetched.data, inspect_image(fetched.data)
            except UnfitImage as exc:
                raise OutputUnusable(_describe(fetched, exc)) from None
            except BrokenImage as exc:
                if fetched.data == broken:
                    # Damaged where it lies, not on the way.
                    raise OutputUnusable(_describe(fetched, exc)) from None
                reason, broken = str(exc), fetched.data
        raise DownloadFailed(reason)

    def close(self) -> None:
        self._session.close()

    def _fetch_once(self, url: str, tick: Tick) -> _Fetched:
        if url.startswith("data:"):
            return _Fetched(read_data_url(url))
        for _ in range(_MAX_REDIRECTS + 1):
            self._require_allowed(url)
            try:
                with open_answer(self._session, "GET", url, limits=_LIMITS) as response:
                    if response.is_redirect:
                        url = _redirected(url, response.headers["Location"])
                        continue
                    if response.status_code != 200:
                        raise DownloadFailed(f"the download answered {response.status_code}")
                    content_type = _word(response.headers.get("Content-Type", ""))
                    data = read_bounded(response, MAX_IMAGE_BYTES, each=tick)
                    return _Fetched(data, content_type)
            except Unanswered as exc:
                raise DownloadFailed(f"the download failed: {exc.reason}") from None
            except TooLarge as exc:
                what = f" ({content_type})" if content_type else ""
                raise OutputUnusable(
                    f"{exc}{what}, and at most {MAX_IMAGE_BYTES:,} are taken"
                ) from None
        raise DownloadFailed("the download was redirected too often")

    def _require_allowed(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise OutputUnusable("its address cannot be read") from None
        is_known = any(_is_at_or_below(host, port, allowed) for allowed in self._hosts)
        is_secure = parts.scheme == "https" or (self._allows_http and parts.scheme == "http")
        if is_known and is_secure and not parts.username and not parts.password:
            return
        where = f"{_shown(host)}:{port}" if port else _shown(host)
        raise OutputUnusable(
            f"it is at {_shown(parts.scheme)}://{where}, and only https at"
            f" {', '.join(self._hosts)} is fetched from",
            "where that is right, add the host to download_hosts;"
            " imagen jobs retry then fetches it without paying again",
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
        OutputUnusable: it cannot be decoded, or is too large.
    """
    head, comma, payload = url.partition(",")
    if not comma or len(payload) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise OutputUnusable(f"its data URL ({len(url):,} characters) is damaged or too large")
    if not head.endswith(";base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode(unquote_to_bytes(payload), validate=True)
    except ValueError:
        raise OutputUnusable(f"its data URL ({len(url):,} characters) is damaged") from None


def output_urls(output: Any) -> tuple[str, ...]:
    """The URLs in a prediction's output: a string, a list of them, or an object with one."""
    urls = []
    for one in _items(output):
        named = one.get("url") or one.get("image") if isinstance(one, Mapping) else one
        if isinstance(named, str) and _URL.match(named):
            urls.append(named)
    return tuple(urls)


def describe_output(output: Any) -> str:
    """What an output without URLs is, in two or three words of ours."""
    for kind, words in ((str, "text"), (Mapping, "an object without an image"), (list, "a list")):
        if isinstance(output, kind):
            return words
    return "nothing" if output is None else "a value"


def _items(output: Any) -> Sequence[Any]:
    if isinstance(output, Mapping) and isinstance(output.get("images"), list):
        output = output["images"]
    return output if isinstance(output, list) else [output]


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise OutputUnusable("it is redirected to an address that cannot be read") from None


def _describe(fetched: _Fetched, exc: BrokenImage) -> str:
    what = f", {fetched.content_type}" if fetched.content_type else ""
    return f"{exc} ({len(fetched.data):,} bytes{what})"


def _word(content_type: str) -> str:
    """The type alone, or "" for what cannot be one: the server may have written anything."""
    found = _CONTENT_TYPE.match(content_type)
    return found[0] if found else ""


def _shown(part: str) -> str:
    return part if part.isascii() and part.isprintable() and len(part) <= 255 else "…"
