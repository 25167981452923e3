"""Each cell of the operations guide's table of rights, through the roles that its recipe makes.

Real workers draw and deliver with these roles, two models at one ComfyUI among it; the statements
are what a host with its password could type.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from imagen.ledger.store.indexes import whole_metadata
from tests.fakes.comfyui import FakeComfyUI
from tests.processes.commands import start_imagen
from tests.processes.site import Site
from tests.servers.redis_and_postgres import PostgresServer, RedisServer
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DOCS = Path(__file__).parents[2] / "docs"
LOGINS = {
    "imagen_gpu": "gpu_one",
    "imagen_cloud": "cloud_one",
    "imagen_results": "desk_results",
    "imagen_client": "somebody",
}
DEADLINE_S = 120

#: A row of the guide's table: what a host could type, in which ``{…}`` are the ids of rows. It is
#: refused where PostgreSQL says so, or where no row is changed or seen.
STATEMENTS = {
    "see the jobs of GPU queues that are on their way": "SELECT id FROM imagen.jobs"
    " WHERE id = {gpu}",
    "see jobs of other queues": "SELECT id FROM imagen.jobs WHERE id = {cloud}",
    "see jobs that ended": "SELECT id FROM imagen.jobs WHERE id = {ended}",
    "claim a job of a GPU queue": "UPDATE imagen.jobs SET passed_over = passed_over + 1,"
    " passed_over_since = now(), fence = fence + 1 WHERE id = {gpu}",
    "claim a job of another queue": "UPDATE imagen.jobs SET passed_over = passed_over + 1,"
    " fence = fence WHERE id = {cloud}",
    "keep the attempts of a job of a GPU queue": "UPDATE imagen.attempts SET cost_usd = 0,"
    " record = '{{}}', external_id = 'x' WHERE job_id = {gpu}",
    "rewrite the attempts of other jobs": "UPDATE imagen.attempts SET cost_usd = 0,"
    " state = 'failed', external_id = 'y' WHERE job_id = {cloud}",
    "rewrite the attempts of jobs that ended": "UPDATE imagen.attempts SET cost_usd = 0"
    " WHERE job_id = {ended}",
    "read the attempts of other jobs": "SELECT cost_usd FROM imagen.attempts"
    " WHERE job_id = {cloud}",
    "hand in an image of a GPU queue": "INSERT INTO imagen.artifacts"
    " (key, job_id, size_bytes, sha256, created_at) VALUES ('k', {gpu}, 1, '', now())",
    "hand in an image of another queue": "INSERT INTO imagen.artifacts"
    " (key, job_id, size_bytes, sha256, created_at) VALUES ('k', {cloud}, 1, '', now())",
    "read an image": "SELECT data FROM imagen.artifacts WHERE job_id = {gpu}",
    "drop an image": "DELETE FROM imagen.artifacts WHERE job_id = {gpu}",
    "pause a backend whose jobs it draws": "INSERT INTO imagen.pauses (backend, reason, created_at)"
    " VALUES ('schnell', 'x', now())",
    "pause another backend": "INSERT INTO imagen.pauses (backend, reason, created_at)"
    " VALUES ('cloudy', 'x', now())",
    "lift a pause": "DELETE FROM imagen.pauses WHERE backend = 'held'",
    "report another's worker": "UPDATE imagen.workers SET seen_at = now() WHERE owner = 'elses'",
    "delete another's worker": "DELETE FROM imagen.workers WHERE owner = 'elses'",
    "report a worker under another's name": "INSERT INTO imagen.workers (owner, host, role, queues,"
    " backends, started_at, seen_at, login) VALUES ('new', 'h', 'gpu', '[]', '[]', now(), now(),"
    " 'cloud_one')",
    "submit a job": "INSERT INTO imagen.jobs (id, queue, lane, backend, request, output, state,"
    " phase, delivery_host, caller, created_at) VALUES (gen_random_uuid(), 'gpu', 0, 'schnell',"
    " '{{}}', '{{}}', 'queued', 'draw', 'h', 'c', now())",
    "delete a job": "DELETE FROM imagen.jobs WHERE id = {ended}",
    "change the prompt of a job": "UPDATE imagen.jobs SET request = '{{}}' WHERE id = {gpu}",
    "change where an image goes": "UPDATE imagen.jobs SET output = '{{}}' WHERE id = {gpu}",
    "say where an image was written": "UPDATE imagen.jobs SET output_path = '/x' WHERE id = {gpu}",
    "take over the jobs of a host": "UPDATE imagen.jobs SET delivery_host = 'h' WHERE id = {gpu}",
    "see batches": "SELECT id FROM imagen.batches",
    "see usage": "SELECT id FROM mai.imagen_usage",
    "record usage": "INSERT INTO mai.imagen_usage (created_at, backend, prompt_hash, caller)"
    " VALUES (now(), 'x', 'x', 'x')",
    "see copies of images": "SELECT id FROM imagen.images",
    "see what is to be sent": "SELECT id FROM imagen.outbox",
    "look after everybody's jobs": "INSERT INTO imagen.locks (name, owner, expires_at)"
    " VALUES ('x', 'x', now())",
    "change which ledger this is": "UPDATE imagen.meta SET value = 'x'",
    "change the schema": "CREATE TABLE imagen.more (id int)",
}


def table_of_rights() -> dict[str, dict[str, bool]]:
    """The guide's table: what each role may, by what it is called there."""
    text = (DOCS / "operations.md").read_text()
    head, *lines = re.findall(r"^\| (.*) \|$", text[text.index("| to do |") :], re.M)
    roles = [cell.strip(" `") for cell in head.split("|")][1:]
    rights: dict[str, dict[str, bool]] = {}
    for line in lines[1:]:
        what, *cells = (cell.strip() for cell in line.split("|"))
        if len(cells) != len(roles):
            break
        rights[what] = {role: cell == "yes" for role, cell in zip(roles, cells, strict=True)}
    return rights


RIGHTS = table_of_rights()


def is_allowed(site: Site, statement: str, *, login: str) -> bool:
    """Whether the login may do so, to some row; it is undone."""
    with psycopg.connect(site.url(login)) as connection:
        try:
            done = connection.execute(statement).rowcount  # type: ignore[arg-type]
        except psycopg.errors.InsufficientPrivilege:
            return False
        finally:
            connection.rollback()
    return done != 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("roles")
        comfyui = stack.enter_context(FakeComfyUI(draw_s=0.02))
        (folder / "imagen.yaml").write_text(
            "backends:\n"
            f"  schnell: {{type: comfyui, url: '{comfyui.url}', workflow: flux-schnell}}\n"
            f"  dev: {{type: comfyui, url: '{comfyui.url}', workflow: flux-dev}}\n"
            "  cloudy: {type: mock, queue: cloud, cost_usd: 0.01}\n"
            "output: {cloud_sync: off}\n"
        )
        postgres_url = stack.enter_context(PostgresServer()).create_database()
        site = Site(folder, postgres_url, stack.enter_context(RedisServer()).url)
        assert site.imagen("db", "upgrade", login="postgres").returncode == 0
        site.sql((DOCS / "postgresql-roles.sql").read_text())
        for role, login in LOGINS.items():
            site.sql(f"CREATE ROLE {login} LOGIN IN ROLE {role}")
        yield site


@pytest.fixture(scope="module")
def drawn(site: Site) -> list[str]:
    """What whole workers, each with the role of its kind, drew with two models and in the cloud."""
    (site.folder / "prompts.txt").write_text("".join(f"a fox, view {n}\n" for n in range(6)))
    logs = {role: site.folder / f"{role}.log" for role in ("gpu", "cloud", "results")}
    with ExitStack() as stack:
        commands = [
            stack.enter_context(_batch(site, name)) for name in ("schnell", "dev", "cloudy")
        ]
        # Both models wait at once before anything is drawn, so that one is passed over.
        wait_for(
            lambda: site.sql("SELECT count(*) FROM imagen.jobs") == [(18,)],
            what="the jobs",
            timeout_s=DEADLINE_S,
        )
        for role, login in [
            ("gpu", "gpu_one"),
            ("cloud", "cloud_one"),
            ("results", "desk_results"),
        ]:
            stack.enter_context(site.worker(role, login=login))
        said = [command.communicate(timeout=DEADLINE_S)[1] for command in commands]
        assert [each for each in commands if each.returncode] == [], (
            said,
            [path.read_text()[-3000:] for path in logs.values()],
        )
    return [path.read_text() for path in logs.values()]


@contextmanager
def _batch(site: Site, backend: str) -> Iterator[subprocess.Popen[str]]:
    """A command of a client that waits until its prompts are drawn."""
    words = ("--backend", backend, "--size", "64x64", "--output-dir", str(site.folder / backend))
    process = start_imagen(
        "batch", "prompts.txt", *words, cwd=site.folder, env=site.env("somebody")
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def ids(site: Site, drawn: list[str]) -> dict[str, str]:
    """A job of each kind that the statements speak of, as they lie in the ledger while drawn."""
    assert drawn
    site.sql("UPDATE imagen.jobs SET finished_at = finished_at - interval '1 hour'")
    site.sql("INSERT INTO imagen.pauses (backend, reason, created_at) VALUES ('held', 'x', now())")
    site.sql(
        "INSERT INTO imagen.workers (owner, host, role, queues, backends, started_at, seen_at)"
        " VALUES ('elses', 'h', 'gpu', '[]', '[]', now(), now())"
    )
    site.sql(
        "INSERT INTO imagen.images (id, owner_user_id, storage_path, prompt, created_at)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'x', 'x', now())"
    )
    site.sql(
        "INSERT INTO imagen.outbox (id, job_id, attempt_id, sink, created_at)"
        " SELECT gen_random_uuid(), job_id, id, 'usage', now() FROM imagen.attempts LIMIT 1"
    )
    found: dict[str, str] = {}
    for name, backend in [("gpu", "schnell"), ("cloud", "cloudy"), ("ended", "dev")]:
        (job_id,) = site.sql(f"SELECT max(id::text) FROM imagen.jobs WHERE backend = '{backend}'")[
            0
        ]
        found[name] = f"'{job_id}'"
    for name in ("gpu", "cloud"):
        site.sql(
            "UPDATE imagen.jobs SET state = 'running', lease_owner = 'x', finished_at = NULL"
            f" WHERE id = {found[name]}"
        )
        site.sql(
            "INSERT INTO imagen.artifacts (key, job_id, size_bytes, sha256, data, created_at)"
            f" VALUES ('{name}', {found[name]}, 1, '', 'x', now())"
        )
    return found


def test_whole_workers_draw_with_two_models_and_no_right_is_missing(drawn: list[str]) -> None:
    assert [line for log in drawn for line in log.splitlines() if "permission denied" in line] == []
    assert [line for log in drawn for line in log.splitlines() if "row-level" in line] == []


def test_every_job_of_two_models_was_drawn_and_delivered(site: Site, drawn: list[str]) -> None:
    assert drawn
    states = site.sql("SELECT backend, state, count(*) FROM imagen.jobs GROUP BY 1, 2 ORDER BY 1")

    assert states == [(name, "succeeded", 6) for name in ("cloudy", "dev", "schnell")]


def test_the_guide_and_the_statements_speak_of_the_same_rights() -> None:
    assert set(RIGHTS) == set(STATEMENTS)
    assert {role for rights in RIGHTS.values() for role in rights} == set(LOGINS)


@pytest.mark.parametrize("role", list(LOGINS))
@pytest.mark.parametrize("what", list(STATEMENTS))
def test_a_role_may_what_the_guide_says_and_nothing_else(
    site: Site, ids: dict[str, str], what: str, role: str
) -> None:
    statement = STATEMENTS[what].format(**ids)

    assert is_allowed(site, statement, login=LOGINS[role]) is RIGHTS[what][role]


#: The columns that a GPU host may write, of the tables where it may not write all.
WRITTEN_BY_GPU = {
    "jobs": {
        *("state", "phase", "not_before", "limited_since", "lease_owner", "lease_expires_at"),
        *("fence", "attempt_id", "attempt_count", "passed_over", "passed_over_since"),
        *("error_code", "error_message", "started_at", "finished_at"),
        *("crash_count", "crash_fence", "alone_since"),
    },
    "workers": {
        *("host", "role", "queues", "backends", "model", "allowed_dirs", "open_circuits"),
        "seen_at",
    },
}
#: … and those that it may not.
NOT_WRITTEN_BY_GPU = {
    "jobs": {
        *("id", "dedupe_key", "batch_id", "position", "run", "queue", "lane", "backend"),
        *("affinity", "request", "output", "tried_before", "crashed_at", "delivery_count"),
        *("cancel_requested_at", "delivery_host", "output_path", "file_sha256"),
        *("owner_user_id", "sync", "requested", "caller", "created_at"),
    },
    "workers": {"owner", "started_at", "login"},
}


@pytest.mark.parametrize("table", ["jobs", "workers"])
def test_each_column_is_one_that_a_gpu_host_may_write_or_may_not(site: Site, table: str) -> None:
    """A new column fails here until it stands in one of the two lists, and in the recipe."""
    columns = {column.name for column in whole_metadata.tables[f"imagen.{table}"].columns}
    granted = {
        name
        for (name,) in site.sql(
            "SELECT column_name FROM information_schema.column_privileges"
            " WHERE grantee = 'imagen_gpu' AND privilege_type = 'UPDATE'"
            f" AND table_schema = 'imagen' AND table_name = '{table}'"
        )
    }

    assert columns == WRITTEN_BY_GPU[table] | NOT_WRITTEN_BY_GPU[table]
    assert granted == WRITTEN_BY_GPU[table]


def test_every_table_is_one_that_the_recipe_gives_each_role_by_name(site: Site) -> None:
    """A new table fails here until it is known which roles may see it."""
    seen_by_gpu = {
        name
        for (name,) in site.sql(
            "SELECT DISTINCT table_name FROM information_schema.column_privileges"
            " WHERE grantee = 'imagen_gpu' AND privilege_type = 'SELECT'"
        )
    }
    not_seen = {"batches", "images", "outbox", "imagen_usage", "locks"}
    tables = {table.name for table in whole_metadata.tables.values()}

    assert seen_by_gpu == (tables - not_seen) | {"alembic_version"}
