"""One request and its whole answer: bounded, not redirected, and without others' words."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from typing import Any

import pytest
import requests

from imagen.http.exchange import Limits, TooLarge, Unanswered, exchange, open_answer, read_bounded
from imagen.http.session import new_session

Serve = Callable[..., Any]
LIMITS = Limits(connect_s=5.0, stall_s=5.0, whole_s=20.0)


def test_an_answer_that_says_it_is_too_large_is_not_read(
    serve: Serve, session: requests.Session
) -> None:
    server = serve((b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", 0))

    with (
        pytest.raises(TooLarge, match="5,000,000 bytes") as caught,
        open_answer(session, "GET", server.url, limits=LIMITS) as response,
    ):
        read_bounded(response, 1000)

    assert caught.value.size_bytes == 5_000_000


@pytest.mark.parametrize("length", [b"", b"Content-Length: 99999999999999999999\r\n"])
def test_an_answer_that_is_too_large_is_given_up_while_it_comes(
    serve: Serve, session: requests.Session, length: bytes
) -> None:
    server = serve((b"HTTP/1.0 200 OK\r\n" + length + b"\r\n" + b"x" * 2000, 0))

    with pytest.raises(Unanswered, match="larger than 1,000 bytes"):
        exchange(session, "GET", server.url, limits=LIMITS, max_bytes=1000)


def test_a_redirect_is_an_answer_and_its_body_is_bounded_like_any(
    serve: Serve, session: requests.Session
) -> None:
    elsewhere = serve((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0))
    head = b"HTTP/1.1 302 Found\r\nLocation: " + elsewhere.url.encode() + b"\r\n"
    server = serve((head + b"Content-Length: 5000000\r\n\r\n", 0))

    with pytest.raises(Unanswered, match="5,000,000 bytes"):
        exchange(session, "GET", server.url, limits=LIMITS, max_bytes=1000)

    assert elsewhere.connections == 0


def test_a_connection_that_breaks_in_the_body_is_a_cut(
    serve: Serve, session: requests.Session
) -> None:
    server = serve((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 0))

    with pytest.raises(Unanswered) as caught:
        exchange(session, "GET", server.url, limits=LIMITS, max_bytes=1000, headers={"X": "cut"})

    assert (caught.value.was_sent, caught.value.was_cut) == (True, True)


def test_a_port_where_nothing_listens_is_told_in_words_of_ours(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unanswered) as caught:
        exchange(session, "GET", f"http://127.0.0.1:{port}/secret", limits=LIMITS, max_bytes=1000)

    assert caught.value.reason == "connection refused"
    assert (caught.value.was_sent, caught.value.was_cut) == (False, False)
    assert caught.value.__cause__ is None


def test_a_name_that_nothing_knows_is_told_so(session: requests.Session) -> None:
    with pytest.raises(Unanswered, match="host name cannot be resolved"):
        exchange(session, "GET", "http://nothing.invalid/", limits=LIMITS, max_bytes=1000)


def test_a_certificate_that_is_not_trusted_is_told_so(serve: Serve) -> None:
    server = serve(tls=True)
    stranger = new_session(uses_proxies=False, hosts=1, connections=1)

    with pytest.raises(Unanswered, match="certificate") as caught:
        exchange(stranger, "GET", server.url, limits=LIMITS, max_bytes=1000)

    stranger.close()
    assert not caught.value.was_sent


def test_no_cookie_and_no_netrc_entry_goes_out(
    serve: Serve, session: requests.Session, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password test-password\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session.trust_env = True
    server = serve((b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", 0))

    for _ in range(2):
        exchange(session, "GET", server.url, limits=LIMITS, max_bytes=1000)

    sent = b"".join(server.requests).lower()
    assert b"authorization" not in sent
    assert b"cookie" not in sent


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 9\r\n\r\nwhole one",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n4\r\n one\r\n0\r\n\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"whole one"))
        + gzip.compress(b"whole one"),
    ],
    ids=["length", "chunks", "gzip"],
)
def test_a_body_comes_whole_and_leaves_its_connection_for_the_next(
    serve: Serve, session: requests.Session, body: bytes
) -> None:
    server = serve((b"HTTP/1.1 200 OK\r\n" + body, 0))

    answers = [
        exchange(session, "GET", server.url, limits=LIMITS, max_bytes=1000) for _ in range(3)
    ]

    assert {answer.raw for answer in answers} == {b"whole one"}
    assert server.connections == 1


def test_a_body_that_unpacks_to_too_much_is_given_up(
    serve: Serve, session: requests.Session
) -> None:
    packed = gzip.compress(b"x" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server = serve((head + packed, 0))

    with pytest.raises(Unanswered, match="larger than 100,000 bytes"):
        exchange(session, "GET", server.url, limits=LIMITS, max_bytes=100_000)


def test_a_slow_body_lets_its_reader_look_up_as_it_comes(
    serve: Serve, session: requests.Session
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"
    server = serve((head, 0), (b"x" * 10_000, 0.01))

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with (
        pytest.raises(Stopped),
        open_answer(session, "GET", server.url, limits=LIMITS) as response,
    ):
        read_bounded(response, 10_000, each=stop)
