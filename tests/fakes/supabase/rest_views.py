"""PostgREST's part of the fake: inserts and selects, statuses as observed on 12.0.2."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.fakes.supabase.exchange import Reply, Request, json_reply
from tests.fakes.supabase.faults import rest_problem
from tests.fakes.supabase.filters import Unparsable, ordered, require_column, tests_of
from tests.fakes.supabase.keyring import ANON, SERVICE, Bad
from tests.fakes.supabase.tables import Record, Refused, Table
from tests.fakes.supabase.world import ProjectStore

_STATUS_BY_CODE = {"23505": 409, "23503": 409, "42P01": 404}


def answer_rest(world: ProjectStore, request: Request) -> Reply:
    """The reply to a request below ``/rest/v1``; ``path`` begins behind that."""
    role = world.keyring.role_of(request.headers)
    if role is Bad.MISSING:
        role = ANON
    if isinstance(role, Bad):
        return _refuse_token(world, role)
    reads = request.method in ("GET", "HEAD")
    schema = request.headers.get("accept-profile" if reads else "content-profile", "public")
    if schema not in world.exposed:
        return _not_exposed(world, schema)
    name = request.path.strip("/")
    table = world.tables.get((schema, name))
    if table is None:
        return _no_table(world, schema, name, reads=reads)
    refusal = _refuse_rights(world, role, table)
    if refusal:
        return refusal
    if len(request.body) > world.max_body_bytes:
        return Reply(413, b"", "text/plain")
    try:
        if reads:
            return _select(world, request, table, is_closed=(schema, name) in world.closed)
        if request.method == "POST":
            return _insert(world, request, table, is_closed=(schema, name) in world.closed)
    except Refused as refused:
        status = _STATUS_BY_CODE.get(refused.code, 400)
        return rest_problem(status, refused.code, refused.message, details=refused.details)
    except Unparsable as problem:
        return rest_problem(400, "PGRST100", f'"failed to parse filter ({problem})"')
    return rest_problem(405, "PGRST117", f"Unsupported HTTP method: {request.method}")


def _refuse_token(world: ProjectStore, bad: Bad) -> Reply:
    if bad is Bad.EXPIRED:
        code = "PGRST301" if world.postgrest < 13 else "PGRST303"
        return rest_problem(401, code, "JWT expired")
    return rest_problem(401, "PGRST301", f"JWSError {bad.name.title()}")


def _not_exposed(world: ProjectStore, schema: str) -> Reply:
    listed = ", ".join(world.exposed)
    if world.postgrest < 13:
        message = f"The schema must be one of the following: {listed}"
        return rest_problem(406, "PGRST106", message)
    hint = f"Only the following schemas are exposed: {listed}"
    return rest_problem(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)


def _no_table(world: ProjectStore, schema: str, name: str, *, reads: bool) -> Reply:
    if world.postgrest >= 13:
        message = f"Could not find the table '{schema}.{name}' in the schema cache"
        return rest_problem(404, "PGRST205", message)
    if not reads:
        return json_reply(404, {})
    return rest_problem(404, "42P01", f'relation "{schema}.{name}" does not exist')


def _refuse_rights(world: ProjectStore, role: str, table: Table) -> Reply | None:
    status = 401 if role == ANON else 403
    if (table.schema, "") in world.ungranted or role != SERVICE:
        return rest_problem(status, "42501", f"permission denied for schema {table.schema}")
    if (table.schema, table.name) in world.ungranted:
        return rest_problem(status, "42501", f"permission denied for table {table.name}")
    return None


def _select(world: ProjectStore, request: Request, table: Table, *, is_closed: bool) -> Reply:
    columns = _selected(request.first("select", "*"), table)
    if isinstance(columns, Reply):
        return columns
    tests = tests_of(request.query, table)
    found = [row for row in table.rows if all(test(row) for test in tests)]
    found = [] if is_closed else ordered(found, request.first("order"), table)
    start = int(request.first("offset", "0"))
    asked = int(request.first("limit", str(world.max_rows)))
    rows = found[start : start + min(asked, world.max_rows)]
    span = f"{start}-{start + len(rows) - 1}" if rows else "*"
    shown = json.dumps([{name: _show(row[name]) for name in columns} for row in rows]).encode()
    if "count=exact" not in request.headers.get("prefer", ""):
        return Reply(200, shown, headers={"Content-Range": f"{span}/*"})
    if start > len(found):
        return rest_problem(416, "PGRST103", "Requested range not satisfiable")
    status = 206 if len(rows) < len(found) else 200
    return Reply(status, shown, headers={"Content-Range": f"{span}/{len(found)}"})


def _selected(select: str, table: Table) -> list[str] | Reply:
    if "()" in select:
        return rest_problem(400, "PGRST123", "Use of aggregate functions is not allowed")
    if select == "*":
        return list(table.columns)
    return [require_column(name, table) for name in select.split(",")]


def _insert(world: ProjectStore, request: Request, table: Table, *, is_closed: bool) -> Reply:
    rows = _rows_of(request.body)
    if rows is None:
        return rest_problem(400, "PGRST102", "Empty or invalid json")
    if len({frozenset(row) for row in rows}) > 1:
        return rest_problem(400, "PGRST102", "All object keys must match")
    for name in rows[0] if rows else ():
        if name not in table.columns:
            return _no_column(world, name, table)
    if is_closed:
        message = f'new row violates row-level security policy for table "{table.name}"'
        return rest_problem(403, "42501", message)
    prefer = request.headers.get("prefer", "")
    merge = "merge-duplicates" in prefer if "resolution=" in prefer else None
    named = request.first("on_conflict")
    on_conflict = tuple(named.split(",")) if named else table.unique[0]
    touched, any_new = table.insert(rows, on_conflict=on_conflict, merge=merge)
    status = 200 if merge and touched and not any_new else 201
    if "return=representation" not in prefer:
        return Reply(status, b"")
    return json_reply(status, [{key: _show(row[key]) for key in row} for row in touched])


def _rows_of(body: bytes) -> list[Record] | None:
    """The rows of a request; None where it is no JSON that PostgREST takes."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        read = json.loads(body, parse_float=Decimal, parse_constant=refuse)
        # Half a surrogate pair is no text.
        json.dumps(read, default=str, ensure_ascii=False).encode()
    except ValueError:
        return None
    return read if isinstance(read, list) else [read]


def _no_column(world: ProjectStore, name: str, table: Table) -> Reply:
    if world.postgrest < 13:
        message = f"Column '{name}' of relation '{table.name}' does not exist"
    else:
        message = f"Could not find the '{name}' column of '{table.name}' in the schema cache"
    return rest_problem(400, "PGRST204", message)


def _show(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return json.loads(json.dumps(value, default=float))
