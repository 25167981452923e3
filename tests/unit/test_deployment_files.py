"""What the files for deployment promise, held against each other and against the program."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagen.config.schema import Config, WorkersConfig
from imagen.ledger.store.indexes import whole_metadata

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROLES = {"gpu", "cloud", "results"}
GRACE_S = WorkersConfig().grace_s
PAGES = ["operations.md", "monitoring.md", "architecture.md"]
UNITS = sorted(DOCS.glob("systemd/**/*.service"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def _workers(services: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in services.items() if name in ROLES}


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _mounts(service: dict[str, Any]) -> dict[str, str]:
    """Where in the container -> what of the host stands there."""
    found = {}
    for mount in service.get("volumes", []):
        if isinstance(mount, str):
            # A default value may hold a colon of its own: "${NAME:-/dev/null}:/target:ro".
            source, target = re.fullmatch(r"(\$\{.*?\}|[^:]+):([^:]+)(?::ro)?", mount).groups()
        else:
            source, target = mount["source"], mount["target"]
        found[target] = source
    return found


def _unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser["Service"]


def test_compose_runs_every_role_once(services: dict[str, Any]):
    assert {name: each["command"] for name, each in _workers(services).items()} == {
        role: ["worker", role] for role in ROLES
    }


def test_compose_publishes_on_loopback_only(services: dict[str, Any]):
    published = [port for each in services.values() for port in each.get("ports", [])]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_compose_lets_workers_finish_before_it_kills_them(services: dict[str, Any]):
    graces = [_seconds(each["stop_grace_period"]) for each in _workers(services).values()]

    assert min(graces) > GRACE_S


def test_compose_upgrades_the_schema_before_any_worker_starts(services: dict[str, Any]):
    needed = {name: each["depends_on"] for name, each in _workers(services).items()}

    wanted = {"condition": "service_completed_successfully"}
    assert all(each["db-upgrade"] == wanted for each in needed.values())
    assert services["db-upgrade"]["restart"] == "no"


def test_compose_shows_the_results_worker_the_images_where_the_host_has_them(
    services: dict[str, Any],
):
    def variable(text: str) -> str:
        return re.match(r"\$\{(\w+)", text)[1]

    mounts = _mounts(services["results"]).items()
    images = [(source, target) for target, source in mounts if "IMAGEN_OUTPUT" in source]

    assert [(variable(source), variable(target)) for source, target in images] == [
        ("IMAGEN_OUTPUT", "IMAGEN_OUTPUT")
    ]


def test_compose_gives_all_workers_one_delivery_host(services: dict[str, Any]):
    hosts = {each["environment"]["IMAGEN_HOST"] for each in _workers(services).values()}

    assert len(hosts) == 1
    assert hosts.pop().startswith("${IMAGEN_HOST:?")


def test_compose_tells_a_secret_only_to_who_needs_it(services: dict[str, Any]):
    def holders(variable: str) -> set[str]:
        return {name for name, each in services.items() if variable in each.get("environment", {})}

    assert holders("REPLICATE_API_TOKEN") == {"cloud"}
    assert holders("SUPABASE_SERVICE_KEY") == {"results"}
    assert holders("FLOWER_BASIC_AUTH") == {"flower"}
    assert holders("IMAGEN_DATABASE_URL") == ROLES | {"db-upgrade"}


def test_compose_holds_no_password_of_its_own():
    text = (ROOT / "docker-compose.yml").read_text()

    values = re.findall(r"^ *\w*(?:PASSWORD|AUTH|TOKEN|KEY): *(\S+)", text, re.M)
    assert values
    assert [value for value in values if not value.strip('"').startswith("${")] == []


def test_compose_runs_ours_without_rights(services: dict[str, Any]):
    ours = [each for each in services.values() if each["image"] == "imagen"]

    assert len(ours) == 5
    for each in ours:
        assert each["cap_drop"] == ["ALL"]
        assert each["read_only"] is True
        assert each["user"].startswith("${IMAGEN_UID")


def test_compose_keeps_redis_from_forgetting(services: dict[str, Any]):
    script = services["redis"]["command"][-1]

    for line in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"):
        assert line in script
    assert "requirepass $$REDIS_PASSWORD" in script


def test_every_variable_of_compose_is_in_the_guide():
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    guide = (DOCS / "operations.md").read_text()

    assert {name for name in used if f"`{name}`" not in guide} == set()


def test_the_procfile_has_every_role():
    lines = (ROOT / "Procfile").read_text().splitlines()
    started = dict(line.split(": ", 1) for line in lines if not line.startswith("#"))

    assert started == {
        **{role: f"imagen worker {role}" for role in ROLES},
        "flower": "celery -A workers.monitor flower",
    }


def test_the_image_runs_as_nobody_in_particular_and_hears_signals():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM")) :]

    assert [line for line in final if line.startswith("USER")] == ["USER 10001:10001"]
    assert 'ENTRYPOINT ["imagen"]' in final


def test_the_image_gets_what_it_copies_and_nothing_else():
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in shlex.split(line)[1:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored
    assert [name for name in copied if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_stops_and_starts_again_as_a_worker_needs_it(path: Path):
    service = _unit(path)

    assert service["KillSignal"] == "SIGTERM"
    assert service["Restart"] == "on-failure"
    assert service["NoNewPrivileges"] == "yes"
    if "worker" in path.name:
        assert service["ExecStart"].endswith("/imagen worker %i")
        assert float(service["TimeoutStopSec"]) > GRACE_S


@pytest.mark.parametrize(
    "path", [path for path in UNITS if path.parent.name == "systemd"], ids=lambda path: path.name
)
def test_a_system_unit_is_hardened(path: Path):
    service = _unit(path)

    assert service["ProtectSystem"] == "strict"
    assert service["ProtectHome"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert "User" in service or service["DynamicUser"] == "yes"


def test_the_roles_for_postgresql_speak_of_every_table():
    recipe = (DOCS / "postgresql-roles.sql").read_text()
    tables = {f"{table.schema}.{table.name}" for table in whole_metadata.tables.values()}

    assert {name for name in tables if not re.search(rf"{re.escape(name)}\b", recipe)} == set()


def _said_in_the_program() -> str:
    """Every piece of text of the program, one a line; what is filled in later is an ellipsis."""
    said = []
    for folder in ("imagen", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    said.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", None) for part in node.values]
                    said.append("".join(p if isinstance(p, str) else "…" for p in parts))
    return "\n".join(said)


def test_what_the_guide_quotes_is_what_the_program_says():
    table = (DOCS / "operations.md").read_text().split("## Troubleshooting")[1]
    quoted = re.findall(r"^\| `(.+?)` \|", table, re.M)
    # Not ours: redis-py, PostgreSQL, OpenSSL and Celery say these.
    theirs = ("no permissions", "permission denied", "CERTIFICATE_VERIFY_FAILED", "SecurityWarning")
    ours = [text for text in quoted if not text.startswith(theirs)]
    said = _said_in_the_program()

    assert len(ours) > 20
    assert [text for text in ours if text.rstrip("… ") not in said] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_what_is_there(page: str):
    text = (DOCS / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    def anchors(path: Path) -> set[str]:
        headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
        return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}

    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (DOCS / name) if name else DOCS / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_guide_tells_the_real_defaults():
    text = (DOCS / "operations.md").read_text()
    config = Config()

    assert f"`queue.window` ({config.queue.window:,})" in text
    assert f"`workers.lease_s` ({config.workers.lease_s:g} s)" in text
    assert f"`workers.grace_s` ({config.workers.grace_s:g} s)" in text
    assert f"{config.artifacts.max_bytes / 2**30:g} GiB" in text
