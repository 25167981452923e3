"""Sends one request and reads the whole answer, within limits of time and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from imagen.http.deadline import Deadline, keeping
from imagen.http.failure import describe_failure, is_cut

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an exchange may take, in seconds.

    Attributes:
        connect_s: for a connection to one address of the host.
        stall_s: for the longest silence.
        whole_s: for all of it, until the last byte is received; TLS and headers are included.
            The look-up of the host's name is not: no library bounds that.
    """

    connect_s: float
    stall_s: float
    whole_s: float


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. The names of ``headers`` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    raw: bytes


class Unanswered(Exception):
    """An exchange ended without a whole answer.

    Attributes:
        reason: half a sentence for people; it quotes nothing that was sent.
        was_sent: a part of the request may have reached the server.
        was_cut: an established connection broke.
    """

    def __init__(self, reason: str, *, was_sent: bool, was_cut: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.was_sent = was_sent
        self.was_cut = was_cut


class TooLarge(Exception):
    """The answer is larger than allowed, by its bytes or by its announced size.

    ``size_bytes`` is the announced size; None without one.
    """

    def __init__(self, max_bytes: int, size_bytes: int | None) -> None:
        self.size_bytes = size_bytes
        what = f"is {size_bytes:,} bytes" if size_bytes else f"is larger than {max_bytes:,} bytes"
        super().__init__(f"the answer {what}")


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    limits: Limits,
    max_bytes: int,
    **options: Any,
) -> HttpAnswer:
    """The whole answer, whatever its status. ``options`` are those of ``Session.request``.

    Raises:
        Unanswered: there was none, or not the whole of it within the limits.
    """
    with open_answer(session, method, url, limits=limits, **options) as response:
        try:
            raw = read_bounded(response, max_bytes)
        except TooLarge as exc:
            raise Unanswered(str(exc), was_sent=True) from None
        return HttpAnswer(response.status_code, response.headers, raw)


@contextmanager
def open_answer(
    session: requests.Session, method: str, url: str, *, limits: Limits, **options: Any
) -> Iterator[requests.Response]:
    """The answer's status and headers; its body is to be read in the block, by ``read_bounded``.

    Raises:
        Unanswered: also from the block, where the connection breaks or the deadline passes in it.
    """
    deadline = Deadline(limits.whole_s, stall_s=limits.stall_s)
    timeout = (min(limits.connect_s, limits.whole_s), limits.stall_s)
    try:
        with (
            keeping(deadline),
            session.request(
                method, url, timeout=timeout, allow_redirects=False, stream=True, **options
            ) as response,
        ):
            yield response
    except (requests.RequestException, HTTPError, OSError) as exc:
        is_slow = deadline.is_over and deadline.has_begun
        reason = "the answer took too long" if is_slow else describe_failure(exc)
        # "from None": the library's own error quotes the address, and may quote more.
        raise Unanswered(reason, was_sent=deadline.was_sent, was_cut=is_cut(exc)) from None


def read_bounded(
    response: requests.Response, max_bytes: int, *, each: Callable[[], None] = lambda: None
) -> bytes:
    """The whole body; ``each`` is called whenever a part of it has arrived.

    Raises:
        TooLarge: it is larger than ``max_bytes``, announced or received.
        urllib3.exceptions.HTTPError: the connection broke, also before the announced length.
    """
    announced = response.headers.get("Content-Length", "")
    is_number = announced.isascii() and announced.isdigit() and len(announced) < 20
    if is_number and int(announced) > max_bytes:
        raise TooLarge(max_bytes, int(announced))
    pieces, size_bytes = [], 0
    # ``iter_content`` would wait until a piece is full, however slowly it comes.
    while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
        pieces.append(piece)
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise TooLarge(max_bytes, None)
        each()
    return b"".join(pieces)
