"""Usage and images tables that were there before imagen, and what others may see of ours.

On a real PostgreSQL, bare or with the roles and schemas that Supabase has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import select
from sqlalchemy import text as sql_text
from uuid_utils.compat import uuid7

from imagen.ledger.outbox.supabase_rows import put_image
from imagen.ledger.queries.usage_rows import read_usage
from imagen.ledger.queries.usage_sums import sum_usage
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import (
    HEAD_REVISION,
    _alembic_config,
    current_revision,
    downgrade,
    ledger_id,
    upgrade,
)
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.outgoing_tables import imagen_usage, images
from imagen.ledger.store.schema_sql import render_sql

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"

# What a Supabase project brings, as far as it matters here. Roles belong to the whole server.
SUPABASE = """
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role BYPASSRLS'] LOOP
        BEGIN
            EXECUTE 'CREATE ROLE ' || wanted;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END $$;
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid
$$;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
CREATE SCHEMA storage;
CREATE TABLE storage.objects (id bigserial PRIMARY KEY, bucket_id text, name text);
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT (string_to_array(name, '/'))[1:cardinality(string_to_array(name, '/')) - 1]
$$;
GRANT USAGE ON SCHEMA storage TO anon, authenticated, service_role;
GRANT SELECT ON storage.objects TO anon, authenticated, service_role;
"""

# The shape from before imagen had attempts, sidecars and tags.
OLD_USAGE = """
CREATE SCHEMA IF NOT EXISTS mai;
CREATE TABLE mai.imagen_usage (
    id {key},
    created_at timestamptz DEFAULT now(),
    backend text,
    model text,
    seed bigint,
    prompt_hash text,
    latency_ms integer,
    cost_usd_estimate numeric,
    caller text
);
INSERT INTO mai.imagen_usage (created_at, backend, model, seed, prompt_hash, latency_ms,
    cost_usd_estimate, caller) VALUES
    ('2025-03-03 10:00+00', 'flux', 'schnell', 7, 'abc', 900, 0.0025, 'kim'),
    ('2025-03-04 10:00+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""
OLD_IMAGES = """
CREATE SCHEMA IF NOT EXISTS imagen;
CREATE TABLE imagen.images (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_user_id uuid NOT NULL,
    storage_path text NOT NULL,
    prompt text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO imagen.images (owner_user_id, storage_path, prompt)
    VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'a/old.png', 'an old fox');
"""
KEYS = {
    "serial": "bigserial PRIMARY KEY",
    "uuid": "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
    "uuid without a default": "uuid PRIMARY KEY",
}


def run_sql(url: str, text: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode())


def see(url: str, role: str, statement: str, *, user: str = "") -> list[tuple[Any, ...]]:
    """What a role sees, in the name of a user where there is one."""
    with psycopg.connect(url) as connection:
        connection.execute(f"SET LOCAL ROLE {role}".encode())
        claims = f'{{"sub": "{user}"}}' if user else ""
        connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
        return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def open_it(postgres_url: str) -> Iterator[Callable[[], Ledger]]:
    opened: list[Ledger] = []

    def open_() -> Ledger:
        opened.append(open_ledger(postgres_url, default_path=Path("unused")))
        return opened[-1]

    yield open_
    for ledger in opened:
        ledger.close()


def usage_values() -> dict[str, Any]:
    return {"prompt_hash": "h", "backend": "b", "caller": "c", "attempt_id": uuid7()}


def image_values(owner: str = A) -> dict[str, Any]:
    from datetime import UTC, datetime
    from uuid import UUID

    return {
        "id": uuid7(),
        "owner_user_id": UUID(owner),
        "storage_path": f"{owner}/fox.png",
        "prompt": "a fox",
        "sidecar": {"seed": 7},
        "created_at": datetime.now(UTC),
    }


def write_usage(ledger: Ledger) -> None:
    """As a delivery does."""
    from imagen.ledger.store.clauses import insert_on
    from imagen.ledger.store.types import now_plus

    values = usage_values()
    for _ in range(2):
        with ledger.write() as connection:
            statement = insert_on(ledger, imagen_usage).values(created_at=now_plus())
            connection.execute(
                statement.on_conflict_do_nothing(index_elements=["attempt_id"]), [values]
            )


@pytest.mark.parametrize("with_supabase", [False, True], ids=["bare", "supabase"])
@pytest.mark.parametrize("key", KEYS)
def test_an_old_usage_table_is_adopted_with_its_rows(
    postgres_url: str, open_it: Callable[[], Ledger], key: str, with_supabase: bool
) -> None:
    if with_supabase:
        run_sql(postgres_url, SUPABASE)
    old = OLD_USAGE.format(key=KEYS[key])
    if "without" in key:
        old = old.replace("(created_at, backend", "(id, created_at, backend")
        old = old.replace("('2025", "(gen_random_uuid(), '2025")
    run_sql(postgres_url, old)
    ledger = open_it()

    upgrade(ledger)
    write_usage(ledger)

    rows = list(read_usage(ledger, since=None, until=None))
    assert [row.backend for row in rows] == ["flux", "unknown", "b"]
    assert (rows[0].caller, rows[0].cost_usd) == ("kim", Decimal("0.0025"))
    total = sum_usage(ledger, by=("week", "backend")).total
    assert (total.count, total.unpriced) == (3, 2)


def test_an_old_images_table_is_adopted_with_its_rows(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, OLD_IMAGES)
    ledger = open_it()

    upgrade(ledger)
    row = image_values()
    put_image(ledger, row)
    put_image(ledger, row)

    with ledger.read() as connection:
        prompts = connection.scalars(select(images.c.prompt).order_by(images.c.created_at)).all()
        tags = connection.scalars(sql_text("SELECT tags FROM imagen.images")).all()
    assert prompts == ["an old fox", "a fox"]
    assert tags == [[], []]


def test_what_was_taken_back_keeps_others_history_and_is_adopted_again(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, OLD_USAGE.format(key=KEYS["serial"]) + OLD_IMAGES)
    ledger = open_it()
    upgrade(ledger)

    downgrade(ledger, "base")
    upgrade(ledger)

    assert len(list(read_usage(ledger, since=None, until=None))) == 2
    with ledger.read() as connection:
        assert connection.scalars(select(images.c.prompt)).all() == ["an old fox"]


def test_who_asks_sees_their_own_images_and_nothing_else(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, SUPABASE)
    ledger = open_it()
    upgrade(ledger)
    for owner in (A, A, B):
        put_image(ledger, image_values(owner))

    count = "SELECT count(*) FROM imagen.images"
    assert see(postgres_url, "authenticated", count, user=A) == [(2,)]
    assert see(postgres_url, "authenticated", count, user=B) == [(1,)]
    assert see(postgres_url, "authenticated", count) == [(0,)]
    assert see(postgres_url, "service_role", count) == [(3,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        see(postgres_url, "anon", count)


def test_nobody_writes_images_but_the_service(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, SUPABASE)
    upgrade(open_it())
    insert = (
        "INSERT INTO imagen.images (owner_user_id, storage_path, prompt)"
        f" VALUES ('{A}', 'x', 'a fox') RETURNING prompt"
    )

    for role in ("authenticated", "anon"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            see(postgres_url, role, insert, user=A)
    assert see(postgres_url, "service_role", insert) == [("a fox",)]
    usage = (
        "INSERT INTO mai.imagen_usage (backend, prompt_hash, caller)"
        " VALUES ('b', 'h', 'c') RETURNING caller"
    )
    assert see(postgres_url, "service_role", usage) == [("c",)]


def test_a_schema_that_is_exposed_and_granted_by_mistake_shows_nothing(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, SUPABASE)
    ledger = open_it()
    upgrade(ledger)
    write_usage(ledger)
    put_image(ledger, image_values())
    with ledger.read() as connection:
        names = connection.scalars(
            sql_text(
                "SELECT schemaname || '.' || tablename FROM pg_tables"
                " WHERE schemaname IN ('imagen', 'mai')"
            )
        ).all()
    run_sql(
        postgres_url,
        "GRANT USAGE ON SCHEMA imagen, mai TO anon;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA imagen, mai TO anon;",
    )

    assert len(names) > 8
    for name in names:
        assert see(postgres_url, "anon", f"SELECT count(*) FROM {name}") == [(0,)], name


def test_who_asks_downloads_their_own_objects_of_our_bucket_alone(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, SUPABASE)
    run_sql(
        postgres_url,
        "INSERT INTO storage.objects (bucket_id, name) VALUES "
        f"('imagen-generated', '{A}/one.png'), ('imagen-generated', '{B}/two.png'),"
        f"('imagen-generated', 'loose.png'), ('another', '{A}/three.png')",
    )
    upgrade(open_it())

    names = "SELECT name FROM storage.objects"
    assert see(postgres_url, "authenticated", names, user=A) == [(f"{A}/one.png",)]
    assert see(postgres_url, "anon", names) == []


def test_a_storage_that_belongs_to_another_role_does_not_stop_the_upgrade(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, SUPABASE)
    name = postgres_url.rpartition("/")[2]
    owner = f"owner_{uuid7().hex}"
    run_sql(
        postgres_url,
        f"CREATE ROLE {owner} LOGIN; GRANT CREATE, CONNECT ON DATABASE {name} TO {owner};"
        f"GRANT USAGE ON SCHEMA auth, storage TO {owner};",
    )
    ledger = open_ledger(
        postgres_url.replace("postgres@", f"{owner}@"), default_path=Path("unused")
    )

    upgrade(ledger)

    assert current_revision(ledger) == HEAD_REVISION
    ledger.close()
    run_sql(postgres_url, f"DROP OWNED BY {owner}; DROP ROLE {owner}")


@pytest.mark.parametrize("with_supabase", [False, True], ids=["bare", "supabase"])
def test_the_printed_sql_makes_what_an_upgrade_makes(
    postgres_url: str, open_it: Callable[[], Ledger], with_supabase: bool
) -> None:
    if with_supabase:
        run_sql(postgres_url, SUPABASE)

    run_sql(postgres_url, render_sql())

    ledger = open_it()
    assert current_revision(ledger) == HEAD_REVISION
    with ledger.write() as connection:
        # Raises with the list of differences.
        command.check(_alembic_config(connection))
    upgrade(ledger)
    write_usage(ledger)


def test_the_printed_sql_may_be_run_again_and_puts_right_what_is_missing(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    run_sql(postgres_url, SUPABASE)
    run_sql(postgres_url, render_sql())
    ledger = open_it()
    first = ledger_id(ledger)
    write_usage(ledger)
    run_sql(
        postgres_url,
        "REVOKE ALL ON imagen.images FROM service_role;"
        "ALTER TABLE mai.imagen_usage DROP COLUMN latency_ms;",
    )

    run_sql(postgres_url, render_sql())

    assert see(postgres_url, "service_role", "SELECT count(*) FROM imagen.images") == [(0,)]
    assert len(list(read_usage(ledger, since=None, until=None))) == 1
    assert ledger_id(ledger) == first


def test_the_printed_sql_goes_on_from_an_earlier_revision(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    ledger = open_it()
    upgrade(ledger, "0001")
    first = ledger_id(ledger)

    run_sql(postgres_url, render_sql())

    assert current_revision(ledger) == HEAD_REVISION
    assert ledger_id(ledger) == first


def test_the_printed_sql_makes_another_ledger_in_each_database(
    postgres_server: Any, open_it: Callable[[], Ledger], postgres_url: str
) -> None:
    run_sql(postgres_url, render_sql())
    url = postgres_server.create_database()
    run_sql(url, render_sql())
    other = open_ledger(url, default_path=Path("unused"))

    assert ledger_id(open_it()) != ledger_id(other)

    other.close()
    postgres_server.drop_database(url)


def test_the_printed_sql_works_where_everything_was_taken_back(
    postgres_url: str, open_it: Callable[[], Ledger]
) -> None:
    ledger = open_it()
    upgrade(ledger)
    downgrade(ledger, "base")

    run_sql(postgres_url, render_sql())

    assert current_revision(ledger) == HEAD_REVISION
