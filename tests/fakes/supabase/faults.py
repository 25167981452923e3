"""What can go wrong at the fake Supabase, on demand or by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from tests.fakes.supabase.exchange import Reply, Request, html_reply, json_reply


class Service(StrEnum):
    """What a fault may be limited to."""

    STORAGE = "storage"
    REST = "rest"


class SupabaseFault(Enum):
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


#: Faults that pass by themselves.
TEMPORARY = (
    SupabaseFault.DATABASE_DOWN,
    SupabaseFault.NO_CONNECTIONS,
    SupabaseFault.READ_ONLY,
    SupabaseFault.TIMED_OUT,
    SupabaseFault.LOCKED,
    SupabaseFault.STARTING,
    SupabaseFault.SLOW_DOWN,
    SupabaseFault.GATEWAY_ERROR,
    SupabaseFault.GATEWAY_THROTTLED,
    SupabaseFault.PAUSED,
    SupabaseFault.CUT_BEFORE,
)


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


_ANYWHERE: Mapping[SupabaseFault, Reply] = {
    SupabaseFault.ERROR_AFTER: html_reply(502, "Bad Gateway"),
    SupabaseFault.GATEWAY_ERROR: html_reply(502, "Bad Gateway"),
    SupabaseFault.GATEWAY_THROTTLED: json_reply(429, {"message": "Too many requests"}),
    SupabaseFault.PAUSED: json_reply(540, {"message": "Project paused"}),
    SupabaseFault.RESTRICTED: json_reply(402, {"message": "exceed_egress_quota"}),
    SupabaseFault.LOGIN_PAGE: html_reply(200, "Welcome to this hotel"),
    SupabaseFault.REDIRECTED: html_reply(
        301, "Moved", {"Location": "http://127.0.0.1:9/elsewhere"}
    ),
}
_AT_STORAGE: Mapping[SupabaseFault, Reply] = {
    SupabaseFault.DATABASE_DOWN: storage_problem(
        500, 500, "Internal", "InternalError", "Internal server error"
    ),
    SupabaseFault.NO_CONNECTIONS: storage_problem(
        500, 500, "DatabaseError", "DatabaseError", "database error, code: 53300"
    ),
    SupabaseFault.READ_ONLY: storage_problem(
        400, 503, "DatabaseReadOnly", "DatabaseReadOnly", "The database is read-only"
    ),
    SupabaseFault.TIMED_OUT: storage_problem(
        400, 544, "DatabaseTimeout", "DatabaseTimeout", "The connection to the database timed out"
    ),
    SupabaseFault.LOCKED: storage_problem(
        400, 423, "ResourceLocked", "ResourceLocked", "The resource is locked"
    ),
    SupabaseFault.STARTING: storage_problem(
        400, 503, "LockTimeout", "LockTimeout", "Failed to acquire lock"
    ),
    SupabaseFault.SLOW_DOWN: storage_problem(
        429, 429, "SlowDown", "SlowDown", "Too many connections issued to the database"
    ),
}
_AT_REST: Mapping[SupabaseFault, Reply] = {
    SupabaseFault.DATABASE_DOWN: rest_problem(
        503, "PGRST000", "Database connection error. Retrying the connection."
    ),
    SupabaseFault.NO_CONNECTIONS: rest_problem(503, "53300", "sorry, too many clients already"),
    SupabaseFault.READ_ONLY: rest_problem(
        405, "25006", "cannot execute INSERT in a read-only transaction"
    ),
    SupabaseFault.TIMED_OUT: rest_problem(
        500, "57014", "canceling statement due to statement timeout"
    ),
    SupabaseFault.LOCKED: rest_problem(500, "55P03", "canceling statement due to lock timeout"),
    SupabaseFault.STARTING: rest_problem(
        503, "PGRST002", "Could not query the database for the schema cache. Retrying."
    ),
    SupabaseFault.SLOW_DOWN: rest_problem(
        504, "PGRST003", "Timed out acquiring connection from connection pool."
    ),
}


def fault_reply(fault: SupabaseFault, service: Service) -> Reply | None:
    """The answer that a fault gives instead of the true one; None where it gives none."""
    special = _AT_STORAGE if service is Service.STORAGE else _AT_REST
    return _ANYWHERE.get(fault) or special.get(fault)


@dataclass(frozen=True)
class TargetedFault:
    """A fault that strikes only requests to a service, or with a method; None is any."""

    fault: SupabaseFault
    service: Service | None = None
    method: str | None = None

    def fits(self, request: Request, service: Service) -> bool:
        return self.service in (None, service) and self.method in (None, request.method)
