"""Downloads the image of a prediction: whole, without a token, and from allowed hosts only."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from imagen.backends.replicate.api.rate_gate import Tick, pause
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.http.exchange import Limits, TooLarge, Unanswered, open_answer, read_bounded
from imagen.http.session import new_session
from imagen.images.broken import BrokenImage, UnfitImage
from imagen.images.verify import MAX_IMAGE_BYTES, inspect_image

_TRIES = 4
_FIRST_BACKOFF_S = 0.25
_LIMITS = Limits(connect_s=10.0, stall_s=15.0, whole_s=60.0)
_MAX_REDIRECTS = 3
_HOSTS = 4
_CONNECTIONS = 64
_CONTENT_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}", re.ASCII)


class DownloadFailed(Exception):
    """Every try failed, but a later one may succeed. The message is the last reason."""


class OutputUnusable(Exception):
    """No further try can succeed; the message is the reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class Downloader:
    """Downloads outputs for one backend. Threads share it."""

    def __init__(self, settings: ReplicateSettings) -> None:
        self._hosts = settings.download_hosts
        # Plain http is for a fake of Replicate on this machine only.
        self._allows_http = settings.is_local
        self._session = new_session(
            uses_proxies=not settings.is_local, hosts=_HOSTS, connections=_CONNECTIONS
        )

    def fetch(self, url: str, tick: Tick) -> bytes:
        """The bytes behind an output's URL (https or data), checked to be one whole image.

        Makes four tries of at most a minute each, with 0.25, 1 and 4 s between them.

        Raises:
            DownloadFailed: every try failed.
            OutputUnusable: the URL's host is not allowed, or there is no image at the URL.
        """
        reason, broken = "", b""
        for number in range(_TRIES):
            if number:
                pause(_FIRST_BACKOFF_S * 4 ** (number - 1), tick)
            try:
                data, content_type = self._fetch_once(url, tick)
                inspect_image(data)
            except DownloadFailed as exc:
                reason = str(exc)
            except BrokenImage as exc:
                # The same damage twice was not done by the connection.
                if isinstance(exc, UnfitImage) or data == broken:
                    what = f", {content_type}" if content_type else ""
                    raise OutputUnusable(f"{exc} ({len(data):,} bytes{what})") from None
                reason, broken = str(exc), data
            else:
                return data
        raise DownloadFailed(reason)

    def close(self) -> None:
        self._session.close()

    def _fetch_once(self, url: str, tick: Tick) -> tuple[bytes, str]:
        """The bytes, and their content type as the server names it, or ""."""
        if url.startswith("data:"):
            return read_data_url(url), ""
        for _ in range(_MAX_REDIRECTS + 1):
            self._require_allowed(url)
            try:
                with open_answer(self._session, "GET", url, limits=_LIMITS) as response:
                    if response.is_redirect:
                        url = _redirected(url, response.headers["Location"])
                        continue
                    if response.status_code != 200:
                        raise DownloadFailed(f"the download answered {response.status_code}")
                    content_type = _read_type(response.headers.get("Content-Type", ""))
                    return read_bounded(response, MAX_IMAGE_BYTES, each=tick), content_type
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
    """Whether ``allowed``, a host or host:port, covers the host; without a port only 443."""
    name, _, number = allowed.partition(":")
    if number:
        return host == name and str(port) == number
    return port in (None, 443) and (host == name or host.endswith(f".{name}"))


def read_data_url(url: str) -> bytes:
    """The bytes in a data URL; its type is ignored, as images were seen without an image's type.

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


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise OutputUnusable("it is redirected to an address that cannot be read") from None


def _read_type(content_type: str) -> str:
    """The type without its parameters, or "" for a header that is no type."""
    found = _CONTENT_TYPE.match(content_type)
    return found[0] if found else ""


def _shown(part: str) -> str:
    """The part of a URL as messages show it."""
    return part if part.isascii() and part.isprintable() and len(part) <= 255 else "…"
