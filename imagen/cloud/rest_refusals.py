"""Refusals of PostgREST, by their code: its own PGRST…, or the database's SQLSTATE."""

from __future__ import annotations

import re

from imagen.cloud.http import read_body, read_object
from imagen.cloud.refusal import MIGRATE_HINT, key_refused, refusal_by_status
from imagen.cloud.settings import SupabaseSettings
from imagen.errors import CloudError
from imagen.http.exchange import HttpAnswer

NAME = "the Supabase REST API"
_KEY_CODES = ("PGRST300", "PGRST301", "PGRST302", "PGRST303", "22023")
_MISSING_TABLE = ("PGRST205", "42P01")
_MISSING_COLUMN = ("PGRST204", "42703")
# Four codes for no connection to the database.
_NO_DATABASE = ("PGRST000", "PGRST001", "PGRST002", "PGRST003")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
# SQLSTATE classes of temporary errors: connection, transaction state (a database set read-only),
# rollback, resources, locks, operator intervention (57014: statement timeout), system, internal.
_TRANSIENT_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
# The only part of the server's text in a message: a column's name, in a form that no prompt has.
_COLUMN = re.compile(r"""['". ]([a-z_][a-z0-9_]{0,62})['"]?(?: column| of relation| does not)""")


def code_of(answer: HttpAnswer) -> str:
    """PostgREST's code, or ""."""
    return str(read_object(answer).get("code") or "")


def missing_column_of(answer: HttpAnswer) -> str | None:
    """The column that the table lacks, "" where it is not named; None where none is missing."""
    if code_of(answer) not in _MISSING_COLUMN:
        return None
    # 12.0: Column 'x' of relation 'images' does not exist; later: Could not find the 'x' column
    # of 'images' in the schema cache; in filters: column images.x does not exist.
    match = _COLUMN.search(str(read_object(answer).get("message") or ""))
    return match[1] if match else ""


def rest_refusal(
    answer: HttpAnswer, settings: SupabaseSettings, *, schema: str, table: str
) -> CloudError:
    """The error that an answer without success means."""
    code, message = code_of(answer), str(read_object(answer).get("message") or "")
    where = f"{schema}.{table}"
    if code in _KEY_CODES or (answer.status == 401 and code != "42501"):
        return key_refused(settings, status=answer.status)
    if code in _NO_DATABASE:
        return CloudError(f"{NAME} cannot reach its database ({code})", "", True)
    found = _about_setup(code, settings, schema=schema, table=table, message=message)
    if found is None and _is_missing_table(answer, code):
        found = CloudError(f"table {where} is not in the Supabase project", MIGRATE_HINT)
    if found is None and (column := missing_column_of(answer)) is not None:
        named = f"column {column!r}" if column else "a column"
        found = CloudError(f"table {where} in Supabase has no {named}", MIGRATE_HINT)
    if found is None and code == "42P10":
        found = CloudError(f"table {where} in Supabase lacks its unique index", MIGRATE_HINT)
    return found or _about_row(answer, code, where) or _by_state(answer, code, settings, where)


def _about_setup(
    code: str, settings: SupabaseSettings, *, schema: str, table: str, message: str
) -> CloudError | None:
    if code == "PGRST106":
        return CloudError(
            f"schema {schema!r} is not exposed by {NAME}",
            f"add {schema!r} to the exposed schemas in the project's settings, Data API"
            " (self-hosted: PGRST_DB_SCHEMAS)",
        )
    if code != "42501":
        return None
    if "row-level security" in message:
        return CloudError(
            f"row-level security of {schema}.{table} refuses the key in {settings.key_variable}",
            "only a secret (service_role) key may write; it is no anon or user key",
        )
    return CloudError(
        f"the key in {settings.key_variable} has no rights on {schema}.{table} (42501)",
        f"grant usage on schema {schema}, and select, insert and update on {schema}.{table},"
        f" to service_role: {MIGRATE_HINT}",
    )


def _is_missing_table(answer: HttpAnswer, code: str) -> bool:
    # PostgREST 12 answers a POST to a missing table with 404 and an empty object.
    return code in _MISSING_TABLE or (answer.status == 404 and read_body(answer) == {})


def _about_row(answer: HttpAnswer, code: str, where: str) -> CloudError | None:
    """The error where only this row is refused; its content is not in the message."""
    if answer.status == 413 or code == "54000":
        return _row(f"a row is larger than {where} in Supabase takes")
    if code == "22P05":
        return _row(f"a row for {where} has a character that no database stores")
    if code == "23505":
        return _row(f"another row of {where} has a value that must be unique")
    if code == "23503":
        return _row(
            f"a row for {where} names something that is not there",
            "is owner_user_id in the configuration the id of a user of this project?",
        )
    if code[:2] in ("22", "23") or code == "PGRST102":
        return _row(f"a row does not fit table {where} in Supabase ({code})")
    return None


def _row(message: str, hint: str = "") -> CloudError:
    return CloudError(message, hint, False, True)


def _by_state(answer: HttpAnswer, code: str, settings: SupabaseSettings, where: str) -> CloudError:
    if not _SQLSTATE.fullmatch(code):
        return refusal_by_status(answer.status, settings, name=NAME)
    if code == "57014":
        return CloudError(f"the database took too long over {where} ({code})", "", True)
    if code == "25006":
        hint = "a full disk does that: see the project's disk in the Supabase dashboard"
        return CloudError(f"the Supabase database is read-only ({code})", hint, True)
    if code[:2] in _TRANSIENT_CLASSES:
        return CloudError(f"the Supabase database cannot do it now ({code})", "", True)
    return CloudError(f"the Supabase database refused it for {where} ({code})")
