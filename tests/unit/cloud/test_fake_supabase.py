"""The fake answers as the real servers were observed to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from tests.fakes.supabase import FakeSupabase, Service, SupabaseFault
from tests.fakes.supabase.keyring import make_jwt

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def ask(fake):
    """Sends one request as the service role, with ``headers`` on top; none for ``key=""``."""
    with requests.Session() as session:

        def _ask(method, path, *, key=None, headers=None, **options):
            sent = {"apikey": fake.key if key is None else key, **(headers or {})}
            return session.request(method, f"{fake.url}{path}", headers=sent, timeout=10, **options)

        yield _ask


def told(answer) -> tuple:
    body = answer.json()
    return answer.status_code, body["statusCode"], body["error"], body["code"]


def code(answer) -> tuple:
    return answer.status_code, answer.json()["code"]


def usage(**more) -> dict:
    return {"backend": "mock", "attempt_id": str(uuid4()), **more}


def post_usage(ask, rows, *, params=None, prefer="", headers=None):
    headers = {"Content-Profile": "mai", "Prefer": prefer, **(headers or {})}
    return ask("POST", "/rest/v1/imagen_usage", json=rows, params=params, headers=headers)


def test_storage_says_http_400_and_the_truth_in_the_body(fake, ask):
    bucket = {"id": "b", "name": "b", "public": False}
    assert told(ask("GET", "/storage/v1/bucket/b")) == (
        400, "404", "Bucket not found", "NoSuchBucket",
    )  # fmt: skip
    assert ask("POST", "/storage/v1/bucket", json=bucket).json() == {"name": "b"}
    assert told(ask("POST", "/storage/v1/bucket", json=bucket)) == (
        400, "409", "Duplicate", "BucketAlreadyExists",
    )  # fmt: skip
    place = "/storage/v1/object/b/o/x.png"
    png = {"Content-Type": "image/png"}
    assert ask("POST", place, data=b"x", headers=png).json()["Key"] == "b/o/x.png"
    assert told(ask("POST", place, data=b"x", headers=png)) == (
        400, "409", "Duplicate", "KeyAlreadyExists",
    )  # fmt: skip
    assert ask("POST", place, data=b"y", headers={**png, "x-upsert": "true"}).status_code == 200
    assert ask("GET", place).content == b"y"
    assert told(ask("GET", "/storage/v1/object/b/o/z.png")) == (
        400, "404", "not_found", "NoSuchKey",
    )  # fmt: skip
    missing = ask("HEAD", "/storage/v1/object/b/o/z.png")
    assert (missing.status_code, missing.content) == (400, b"")
    assert told(ask("GET", "/storage/v1/object/public/b/o/x.png"))[3] == "NoSuchBucket"
    assert (
        told(ask("POST", "/storage/v1/object/b/é.png", data=b"x", headers=png))[3] == "InvalidKey"
    )
    assert told(ask("POST", place, data=b"x", headers={"Content-Type": "png"}))[1] == "415"
    assert ask("GET", "/storage/v1/nothing").status_code == 404


def test_a_head_tells_size_and_md5(fake, ask):
    fake.add_bucket("b")
    ask("POST", "/storage/v1/object/b/x", data=b"abc", headers={"Content-Type": "a/b"})

    head = ask("HEAD", "/storage/v1/object/b/x").headers

    assert (head["Content-Length"], head["ETag"]) == ("3", '"900150983cd24fb0d6963f7d28e17f72"')


def test_a_bad_key_looks_like_a_missing_bucket_on_download_only(fake, ask):
    fake.add_bucket("b")
    wrong = {"Authorization": f"Bearer {make_jwt('service_role', signature='wrong')}"}

    down = ask("GET", "/storage/v1/object/b/x", headers=wrong)
    up = ask("POST", "/storage/v1/object/b/x", data=b"x", headers=wrong)
    nothing = ask("GET", "/storage/v1/bucket/b", key="")

    assert told(down)[3] == "NoSuchBucket"
    assert told(up) == (400, "403", "Unauthorized", "AccessDenied")
    assert told(nothing) == (400, "400", "Error", "InvalidRequest")


def test_a_secret_key_is_no_bearer_and_no_browsers(fake, ask):
    bearer = ask("GET", "/storage/v1/bucket/b", headers={"Authorization": f"Bearer {fake.key}"})
    browser = ask("GET", "/storage/v1/bucket/b", headers={"User-Agent": "Mozilla/5.0"})

    assert told(bearer)[3] == "AccessDenied"
    assert browser.status_code == 401


def test_the_hosted_gateway_refuses_unknown_keys_without_a_code(fake, ask):
    fake.world.keyring.checks_keys = True

    unknown, missing = ask("GET", "/rest/v1/x", key="test"), ask("GET", "/rest/v1/x", key="")

    assert (unknown.status_code, unknown.json()["message"]) == (401, "Invalid API key")
    assert (missing.status_code, "code" in missing.json()) == (401, False)


def test_inserts_answer_as_postgrest_does(fake, ask):
    row = usage()
    merge = {"params": {"on_conflict": "attempt_id"}, "prefer": "resolution=merge-duplicates"}
    assert post_usage(ask, row).status_code == 201
    assert code(post_usage(ask, row)) == (409, "23505")
    assert post_usage(ask, row, **merge).status_code == 200
    assert post_usage(ask, [row, usage()], **merge).status_code == 201
    assert code(post_usage(ask, [row, row], **merge)) == (400, "21000")
    ignore = "resolution=ignore-duplicates,return=representation"
    ignored = post_usage(ask, row, params={"on_conflict": "attempt_id"}, prefer=ignore)
    assert (ignored.status_code, ignored.json()) == (201, [])
    assert code(post_usage(ask, row, params={"on_conflict": "caller"}, prefer=ignore)) == (
        400, "42P10",
    )  # fmt: skip
    assert len(fake.rows("mai", "imagen_usage")) == 2


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"backend": "a"}, {"backend": "b", "seed": 1}], "PGRST102"),
        ({"backend": None}, "23502"),
        ({"backend": "a", "nocol": 1}, "PGRST204"),
        ({"backend": "a\x00"}, "22P05"),
        ({"backend": "a\ud800"}, "PGRST102"),
        ({"backend": "a", "attempt_id": "no"}, "22P02"),
        ({"backend": "a", "latency_ms": 2**31}, "22003"),
        ({"backend": "a", "cost_usd_estimate": 1e9}, "22003"),
        ({"backend": "a", "cost_usd_estimate": float("nan")}, "PGRST102"),
    ],
)
def test_bad_rows_are_refused_and_none_of_them_stays(fake, ask, rows, expected):
    answer = ask(
        "POST",
        "/rest/v1/imagen_usage",
        data=json.dumps(rows),
        headers={"Content-Profile": "mai"},
    )

    assert code(answer) == (400, expected)
    assert fake.rows("mai", "imagen_usage") == []


def test_selects_answer_as_postgrest_does(fake, ask):
    post_usage(ask, [usage(seed=n) for n in range(1, 2501)])
    profile = {"Accept-Profile": "mai"}

    def get(params, **headers):
        return ask("GET", "/rest/v1/imagen_usage", params=params, headers={**profile, **headers})

    assert (get({}).status_code, len(get({}).json())) == (200, 1000)
    counted = get({}, Prefer="count=exact")
    assert (counted.status_code, counted.headers["Content-Range"]) == (206, "0-999/2500")
    assert code(get({"offset": 3000}, Prefer="count=exact")) == (416, "PGRST103")
    assert code(get({"select": "backend,cost_usd_estimate.sum()"})) == (400, "PGRST123")
    assert code(get({"nocol": "eq.1"})) == (400, "42703")
    assert code(get({"seed": "like.1"})) == (400, "PGRST100")
    found = get({"select": "seed", "seed": "in.(3,1,9999)", "order": "seed.desc"})
    assert found.json() == [{"seed": 3}, {"seed": 1}]


def test_the_wrong_profile_header_silently_means_public(fake, ask):
    answer = ask("GET", "/rest/v1/imagen_usage", headers={"Content-Profile": "mai"})

    assert code(answer) == (404, "42P01")


@pytest.mark.parametrize("postgrest", [12, 14])
def test_each_version_has_its_own_spelling(fake, ask, postgrest):
    fake.world.postgrest = postgrest
    fake.world.exposed.remove("imagen")

    hidden = ask("GET", "/rest/v1/images", headers={"Accept-Profile": "imagen"})
    missing = ask("POST", "/rest/v1/nosuch", json=[], headers={"Content-Profile": "mai"})

    assert code(hidden) == (406, "PGRST106")
    assert missing.json() == {} if postgrest == 12 else code(missing) == (404, "PGRST205")


def test_a_long_address_is_refused(fake, ask):
    ids = ",".join(str(uuid4()) for _ in range(500))

    answer = ask("GET", "/rest/v1/imagen_usage", params={"attempt_id": f"in.({ids})"})

    assert answer.status_code == 431


def test_faults_strike_in_order_and_only_whom_they_are_meant_for(fake, ask):
    fake.inject(SupabaseFault.READ_ONLY, service=Service.STORAGE, method="GET")
    fake.inject(SupabaseFault.LOCKED, times=2)

    answers = [ask("GET", f"/{name}/v1/bucket/b") for name in ("rest", "storage", "storage")]

    assert [answer.json()["code"] for answer in answers] == [
        "55P03",
        "DatabaseReadOnly",
        "ResourceLocked",
    ]
    assert ask("GET", "/storage/v1/bucket/b").json()["code"] == "NoSuchBucket"


def test_it_remembers_everything_while_it_is_down(fake, ask):
    post_usage(ask, usage())
    fake.go_down()
    with pytest.raises(requests.ConnectionError):
        ask("GET", "/rest/v1/imagen_usage")
    fake.come_back()

    assert post_usage(ask, usage()).status_code == 201
    assert len(fake.rows("mai", "imagen_usage")) == 2


def test_chance_is_repeatable():
    def play():
        with FakeSupabase(chances={SupabaseFault.READ_ONLY: 0.5}, seed=7) as fake:
            place = f"{fake.url}/storage/v1/bucket/b"
            headers = {"apikey": fake.key}
            return [
                requests.get(place, headers=headers, timeout=10).json()["code"] for _ in range(20)
            ]

    first = play()

    assert first == play()
    assert set(first) == {"DatabaseReadOnly", "NoSuchBucket"}


def test_it_runs_as_a_process_with_controls():
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.supabase", "--chance", "paused=0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        cwd=CHECKOUT,
    )
    with process:
        try:
            lines = [process.stdout.readline().strip().partition("=") for _ in range(2)]
            env = {name: value for name, _, value in lines}
            url = env["SUPABASE_URL"]
            requests.post(f"{url}/_fake/inject", json={"fault": "paused"}, timeout=10)
            paused = requests.get(
                f"{url}/rest/v1/x", headers={"apikey": env["SUPABASE_SERVICE_KEY"]}, timeout=10
            )
            requests.post(f"{url}/_fake/settings", json={"max_rows": 3}, timeout=10)
            stats = requests.get(f"{url}/_fake/stats", timeout=10).json()
        finally:
            process.terminate()

    assert paused.status_code == 540
    assert (stats["calls"], stats["objects"]) == (1, {})
    assert stats["rows"] == {"mai.imagen_usage": 0, "imagen.images": 0}
    assert process.returncode == 0
