"""Addresses of Redis in one form: every secret in one part, and no unknown parameters."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

_SOCKETS = ("unix", "redis+socket")
#: Parameters that an address may have. imagen decides the others itself: timeouts, numbers of
#: connections, how answers are decoded.
_TLS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_KNOWN = ("db", "virtual_host", "username", "password", *_TLS)


def broker_address(value: str) -> str:
    """The address with user, password and database where both redis-py and kombu look for them.

    ``redis://host?password=x&db=2`` becomes ``redis://:x@host/2``; a socket has its database in
    ``virtual_host``, as kombu spells it. An empty one stays empty.

    Raises:
        ValueError: imagen cannot use it. The message does not quote it: it may hold a password.
    """
    if not value:
        return value
    try:
        parts = urlsplit(value)
        has_port = parts.port is not None
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    if parts.fragment:
        raise ValueError(_UNREADABLE)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(query) - set(_KNOWN))
    if unknown:
        raise ValueError(
            f"this address has the parameter {unknown[0]!r}; known are {', '.join(_KNOWN)}"
        )
    user = unquote(parts.username or "") or query.pop("username", "")
    password = unquote(parts.password or "") or query.pop("password", "")
    if user and not password:
        raise ValueError(
            "this address names a user without a password; a password alone is written"
            " redis://:PASSWORD@host"
        )
    if parts.scheme in _SOCKETS:
        return _socket(parts, query, _userinfo(user, password))
    if not parts.hostname and has_port:
        raise ValueError(_UNREADABLE)
    return _tcp(parts, query, _userinfo(user, password))


_UNREADABLE = (
    "this address cannot be read; characters such as # / ? @ in a password are written %23 %2F %3F"
    " %40"
)


def _userinfo(user: str, password: str) -> str:
    return f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""


def _tcp(parts: SplitResult, query: dict[str, str], userinfo: str) -> str:
    database = parts.path.strip("/") or query.get("db") or query.get("virtual_host") or "0"
    tls = {key: query[key] for key in _TLS if key in query}
    if tls and parts.scheme != "rediss":
        raise ValueError(f"{next(iter(tls))} is for rediss://, not for redis://")
    if "ssl_cert_reqs" in tls:
        tls["ssl_cert_reqs"] = _cert_reqs(tls["ssl_cert_reqs"])
    host = parts.netloc.rpartition("@")[2]
    more = f"?{urlencode(tls, safe='/')}" if tls else ""
    # Without urlunsplit, which leaves out the // where there is no host.
    return f"{parts.scheme}://{userinfo}{host}/{_database(database)}{more}"


def _socket(parts: SplitResult, query: dict[str, str], userinfo: str) -> str:
    if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
        raise ValueError(
            "a socket's address is unix:// and an absolute path: unix:///run/redis.sock"
        )
    database = _database(query.get("db") or query.get("virtual_host") or "0")
    return f"redis+socket://{userinfo}{parts.path}?virtual_host={database}"


def _database(text: str) -> str:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the database of a Redis is a number, such as redis://host:6379/0")
    return text


def _cert_reqs(text: str) -> str:
    word = text.lower().removeprefix("cert_")
    if word not in ("required", "optional", "none"):
        raise ValueError("ssl_cert_reqs is one of required, optional, none")
    return word
