"""An exchange is over by its deadline, whatever the server trickles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from imagen.http.exchange import HttpAnswer, Limits, Unanswered, exchange

Serve = Callable[..., Any]

# The whole answer would take 5 s and more, with never more than 50 ms of silence.
SLOWLY_S = 0.05
SLOW = b"x" * 100
LIMITS = Limits(connect_s=2.0, stall_s=1.0, whole_s=0.4)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def ask(session: requests.Session, url: str, limits: Limits = LIMITS, **options: Any) -> HttpAnswer:
    return exchange(session, "GET", url, limits=limits, max_bytes=1000, **options)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "parts",
    [
        [(b"HTTP/1.1 200 OK\r\nX-Slow: " + SLOW + b"\r\n\r\n", SLOWLY_S)],
        [(b"HTTP/1.1 100 Continue\r\n\r\n" * 5, SLOWLY_S), (HEAD + b"\r\n" + SLOW, 0)],
        [(HEAD + b"\r\n", 0), (SLOW, SLOWLY_S)],
        [(b"HTTP/1.0 200 OK\r\n\r\n", 0), (SLOW, SLOWLY_S)],
        [(CHUNKED, 0), (b"1\r\nx\r\n" * 20 + b"0\r\n\r\n", SLOWLY_S)],
        [(CHUNKED + b"1\r\nx\r\n0\r\n", 0), (b"X-Trailer: " + SLOW + b"\r\n\r\n", SLOWLY_S)],
    ],
    ids=["headers", "continue", "body", "body without length", "chunks", "trailer"],
)
def test_an_answer_that_trickles_is_given_up_at_the_deadline(
    serve: Serve, session: requests.Session, parts: list[Any], tls: bool
) -> None:
    server = serve(*parts, tls=tls)

    with pytest.raises(Unanswered, match="the answer took too long") as caught:
        ask(session, server.url)

    assert caught.value.was_sent


def test_a_tls_handshake_that_trickles_is_given_up_at_the_deadline(
    serve: Serve, session: requests.Session
) -> None:
    server = serve(tls=False, reads=False)

    with pytest.raises(Unanswered) as caught:
        ask(session, server.url.replace("http:", "https:"))

    assert not caught.value.was_sent


def test_a_proxy_that_trickles_its_answer_is_given_up_at_the_deadline(
    serve: Serve, session: requests.Session
) -> None:
    server = serve((b"HTTP/1.1 200 OK\r\nX-Slow: " + SLOW + b"\r\n\r\n", SLOWLY_S))
    session.proxies = {"https": server.url}

    with pytest.raises(Unanswered, match="the answer took too long"):
        ask(session, "https://127.0.0.1:1/")

    (sent,) = server.requests
    assert sent.startswith(b"CONNECT")


def test_a_server_that_does_not_read_what_is_sent_is_given_up_at_the_deadline(
    serve: Serve, session: requests.Session
) -> None:
    server = serve(reads=False)

    with pytest.raises(Unanswered, match="timed out") as caught:
        ask(session, server.url, data=iter([b"x" * 65536] * 1000))

    assert caught.value.was_sent


def test_a_silence_is_given_up_before_the_deadline(serve: Serve, session: requests.Session) -> None:
    server = serve((HEAD, 0))

    with pytest.raises(Unanswered, match="timed out"):
        ask(session, server.url, Limits(connect_s=2.0, stall_s=0.1, whole_s=60.0))


def test_a_kept_connection_does_not_inherit_the_last_deadline(
    serve: Serve, session: requests.Session
) -> None:
    server = serve((HEAD + b"\r\n" + SLOW, 0))
    fast = Limits(connect_s=2.0, stall_s=1.0, whole_s=1.0)
    for _ in range(3):
        assert ask(session, server.url, fast).raw == SLOW

    slow = serve((HEAD + b"\r\n", 0), (SLOW, 0.002))
    patient = Limits(connect_s=2.0, stall_s=30.0, whole_s=60.0)
    for _ in range(2):
        assert ask(session, slow.url, patient).raw == SLOW

    assert (server.connections, slow.connections) == (1, 1)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_whole_answer_comes_with_its_status_and_headers(
    serve: Serve, session: requests.Session, tls: bool
) -> None:
    server = serve((b"HTTP/1.1 404 Nope\r\nX-Name: v\r\nContent-Length: 2\r\n\r\nno", 0), tls=tls)

    answer = ask(session, server.url, Limits(connect_s=10, stall_s=10, whole_s=20))

    assert (answer.status, answer.headers["x-name"], answer.raw) == (404, "v", b"no")
