"""What can go wrong at the fake Supabase, on demand or by chance."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from tests.fakes.supabase.exchange import Reply, Request, html_reply, json_reply


class Service(StrEnum):
    """What a fault may be limited to."""

    STORAGE = "storage"
    REST = "rest"


class Fault(Enum):
    """One thing that goes wrong with one request.

    The clients make a call whose connection was cut again at once: order those twice (or for
    good) to see what comes of a cut.
    """

    #: The connection is cut before anything was done.
    CUT_BEFORE = "cut_before"
    CUT_MID_BODY = "cut_mid_body"
    #: Everything is done, then the connection is cut without an answer.
    CUT_AFTER = "cut_after"
    #: Everything is done; the answer is cut off in its middle.
    TORN_ANSWER = "torn_answer"
    #: Everything is done, and the gateway says 502.
    ERROR_AFTER = "error_after"
    #: Everything is done, and the answer takes ``slow_s``.
    SLOW = "slow"
    # Nothing is done, and the answer is:
    GATEWAY_ERROR = "gateway_error"
    GATEWAY_THROTTLED = "gateway_throttled"
    PAUSED = "paused"
    RESTRICTED = "restricted"
    LOGIN_PAGE = "login_page"
    REDIRECTED = "redirected"
    DATABASE_DOWN = "database_down"
    NO_CONNECTIONS = "no_connections"
    READ_ONLY = "read_only"
    TIMED_OUT = "timed_out"
    LOCKED = "locked"
    STARTING = "starting"
    SLOW_DOWN = "slow_down"


def storage_problem(http: int, told: int, error: str, code: str, message: str) -> Reply:
    """An error as Storage words it: the true status is a string in the body."""
    body = {"statusCode": str(told), "error": error, "message": message, "code": code}
    return json_reply(http, body)


def rest_problem(
    http: int, code: str, message: str, *, details: str | None = None, hint: str | None = None
) -> Reply:
    """An error as PostgREST words it."""
    body = {"code": code, "details": details, "hint": hint, "message": message}
    return json_reply(http, body)


_ANYWHERE: Mapping[Fault, Reply] = {
    Fault.ERROR_AFTER: html_reply(502, "Bad Gateway"),
    Fault.GATEWAY_ERROR: html_reply(502, "Bad Gateway"),
    Fault.GATEWAY_THROTTLED: json_reply(429, {"message": "Too many requests"}),
    Fault.PAUSED: json_reply(540, {"message": "Project paused"}),
    Fault.RESTRICTED: json_reply(402, {"message": "exceed_egress_quota"}),
    Fault.LOGIN_PAGE: html_reply(200, "Welcome to this hotel"),
    Fault.REDIRECTED: html_reply(301, "Moved", {"Location": "http://127.0.0.1:9/elsewhere"}),
}
_AT_STORAGE: Mapping[Fault, Reply] = {
    Fault.DATABASE_DOWN: storage_problem(
        500, 500, "Internal", "InternalError", "Internal server error"
    ),
    Fault.NO_CONNECTIONS: storage_problem(
        500, 500, "DatabaseError", "DatabaseError", "database error, code: 53300"
    ),
    Fault.READ_ONLY: storage_problem(
        400, 503, "DatabaseReadOnly", "DatabaseReadOnly", "The database is read-only"
    ),
    Fault.TIMED_OUT: storage_problem(
        400, 544, "DatabaseTimeout", "DatabaseTimeout", "The connection to the database timed out"
    ),
    Fault.LOCKED: storage_problem(
        400, 423, "ResourceLocked", "ResourceLocked", "The resource is locked"
    ),
    Fault.STARTING: storage_problem(
        400, 503, "LockTimeout", "LockTimeout", "Failed to acquire lock"
    ),
    Fault.SLOW_DOWN: storage_problem(
        429, 429, "SlowDown", "SlowDown", "Too many connections issued to the database"
    ),
}
_AT_REST: Mapping[Fault, Reply] = {
    Fault.DATABASE_DOWN: rest_problem(
        503, "PGRST000", "Database connection error. Retrying the connection."
    ),
    Fault.NO_CONNECTIONS: rest_problem(503, "53300", "sorry, too many clients already"),
    Fault.READ_ONLY: rest_problem(405, "25006", "cannot execute INSERT in a read-only transaction"),
    Fault.TIMED_OUT: rest_problem(500, "57014", "canceling statement due to statement timeout"),
    Fault.LOCKED: rest_problem(500, "55P03", "canceling statement due to lock timeout"),
    Fault.STARTING: rest_problem(
        503, "PGRST002", "Could not query the database for the schema cache. Retrying."
    ),
    Fault.SLOW_DOWN: rest_problem(
        504, "PGRST003", "Timed out acquiring connection from connection pool."
    ),
}


def fault_reply(fault: Fault, service: Service) -> Reply | None:
    """The answer that a fault gives instead of the true one, or nothing."""
    special = _AT_STORAGE if service is Service.STORAGE else _AT_REST
    return _ANYWHERE.get(fault) or special.get(fault)


@dataclass
class Order:
    """A fault that waits for its requests; ``times`` is nothing for "from now on"."""

    fault: Fault
    service: Service | None
    method: str | None
    times: int | None

    def fits(self, request: Request, service: Service) -> bool:
        return self.service in (None, service) and self.method in (None, request.method)


class Script:
    """Which fault strikes next: those ordered first, in order, then by chance. Thread-safe."""

    def __init__(self, chances: Mapping[Fault, float], *, seed: int) -> None:
        self._chances = dict(chances)
        self._dice = random.Random(seed)
        self._orders: list[Order] = []
        self._lock = threading.Lock()

    def order(self, order: Order) -> None:
        with self._lock:
            self._orders.append(order)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()
            self._chances.clear()

    def next(self, request: Request, service: Service) -> Fault | None:
        with self._lock:
            for order in self._orders:
                if order.fits(request, service):
                    if order.times is not None:
                        order.times -= 1
                    if order.times == 0:
                        self._orders.remove(order)
                    return order.fault
            rolled = self._dice.random()
            for fault, probability in self._chances.items():
                if rolled < probability:
                    return fault
                rolled -= probability
            return None
