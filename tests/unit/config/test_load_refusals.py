"""Tests of what imagen.config.load refuses: every problem at once, each with its line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagen.config import load as load_module
from imagen.config.load import load_config
from imagen.config.schema import Config
from imagen.errors import ConfigError

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]


def test_all_problems_are_named_at_once_in_the_order_of_the_file(complaints: Complaints) -> None:
    text = """\
outptu:
  dir: x
backends:
  x:
    type: mock
    url: a
    url: b
    api_token: r8_test
  y: {queue: results.mine}
output:
  format: gif
  namin: x
queue:
  window: 0
default_backend: mokc
"""

    assert complaints(text, IMAGEN_PREVIEW="perhaps") == [
        "environment IMAGEN_PREVIEW: output.preview must be 'auto', 'on' or 'off', not 'perhaps'",
        "~/imagen.yaml:1: unknown key 'outptu'; did you mean 'output'?",
        "~/imagen.yaml:7: duplicate key 'url'; it stands on line 6 too",
        "~/imagen.yaml:8: backends.x.api_token: tokens never stand in the file;"
        " set api_token_env and export the variable",
        "~/imagen.yaml:9: backends.y needs 'type'",
        "~/imagen.yaml:9: backends.y.queue: queues named 'results.…' are for deliveries;"
        " choose another name",
        "~/imagen.yaml:11: output.format must be 'png', 'jpeg' or 'webp', not 'gif'",
        "~/imagen.yaml:12: unknown key 'namin' in output; did you mean 'naming'?",
        "~/imagen.yaml:14: queue.window must be at least 1, not the number 0",
        "~/imagen.yaml:15: default_backend names the unknown backend 'mokc'; did you mean 'mock'?",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dir: x", "1: unknown key 'dir'; it belongs under 'output:'"),
        ("workers:\n  concurrency: {gpus: 1}", "2: unknown key 'gpus' in workers.concurrency"),
        ("output: 5", "1: output must be a block of keys, not the number 5"),
        ("output: [a]", "1: output must be a block of keys, not a list"),
        ("backends: x", "1: backends must be a block of keys, not 'x'"),
        ("backends:\n  a: [1]", "2: backends.a must be a block of keys, not a list"),
        ("backends:\n  a:\n", "2: backends.a needs 'type'"),
        ("backends:\n  a b: {type: mock}", "2: backends.a b: a name is 1 to 63 letters"),
        ("output: {naming: {date}}", "1: output.naming must be text, not a block of keys; put it"),
        ("output: {naming: ''}", "1: output.naming must be filled in, not empty"),
        ("output: {dir: 2026}", "1: output.dir must be text, not the number 2026; put it in quo"),
        ("output: {sidecar: maybe}", "1: output.sidecar must be true or false, not 'maybe'"),
        ("queue: {window: 1.5}", "1: queue.window must be a whole number, not the number 1.5"),
        ("queue: {window: '7'}", "1: queue.window must be a whole number, not '7'"),
        ("queue: {window: true}", "1: queue.window must be a whole number, not true"),
        ("workers: {lease_s: 0}", "1: workers.lease_s must be more than 0, not the number 0"),
        ("workers: {heartbeat_s: 40}", "1: workers: heartbeat_s (40) must be less than lease_s"),
        ("workers: {backoff_max_s: 1}", "1: workers: backoff_max_s (1) is less than backoff_base"),
        ("results: {allowed_dirs: /a}", "1: results.allowed_dirs must be a list, not '/a'"),
        ("results: {allowed_dirs: []}", "1: results.allowed_dirs: an empty list would allow"),
        ("results:\n  allowed_dirs:\n  - /a\n  - b", "4: results.allowed_dirs[1]: a folder here"),
        ("owner_user_id: me", "1: owner_user_id: a user's id is a UUID"),
        ("styles: {a: {size: 10x}}", "1: styles.a.size: size '10x' is not WIDTHxHEIGHT"),
        ("styles:\n  a:\n    backend: x1", "3: styles.a.backend names the unknown backend 'x1'; c"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_was_expected(
    complaints: Complaints, text: str, complaint: str
) -> None:
    (line,) = complaints(text)

    assert line.startswith("~/imagen.yaml:" + complaint)


def test_the_file_is_complained_about_even_where_a_variable_wins_over_it(
    complaints: Complaints,
) -> None:
    (line,) = complaints("output: {preview: maybe}", IMAGEN_PREVIEW="on")

    assert line.startswith("~/imagen.yaml:1: output.preview must be")


def test_a_file_with_a_thousand_problems_does_not_fill_the_screen(complaints: Complaints) -> None:
    lines = complaints("".join(f"key{n}: 1\n" for n in range(1000)))

    assert len(lines) == load_module.MAX_PROBLEMS + 1
    assert lines[-1] == "… and 950 more problems"


def test_a_password_in_an_address_is_never_repeated(complaints: Complaints) -> None:
    text = "queue: {broker_url: 'amqp://u:hunter2@h'}\noutput: {format: 'a://u:hunter2@h'}\n"

    lines = complaints(text, IMAGEN_DATABASE_URL="mysql://u:hunter2@h")

    assert len(lines) == 3
    assert "hunter2" not in "\n".join(lines)


def test_a_token_that_was_typed_into_the_wrong_line_is_not_repeated(complaints: Complaints) -> None:
    token = "test_" + "t0ken" * 6

    (line,) = complaints(f"queue: {{window: {token}}}\n")

    assert line == "~/imagen.yaml:1: queue.window must be a whole number, not what stands there"


def test_an_address_with_a_password_is_kept_out_of_the_repr(load: Load) -> None:
    config = load("queue: {broker_url: 'redis://:hunter2@h'}\ndatabase: {url: 'sqlite:///hunter2'}")

    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("key", ["api_token", "token", "key", "password", "API-Key", "hf_token"])
def test_a_key_that_would_hold_a_secret_is_refused_without_its_value(
    complaints: Complaints, key: str
) -> None:
    (line,) = complaints(f"backends:\n  a:\n    type: mock\n    {key}: test-token\n")

    assert line.startswith(
        f"~/imagen.yaml:4: backends.a.{key}: tokens never stand in the file; set "
    )
    assert "test-token" not in line


def test_a_name_of_a_variable_and_a_models_own_inputs_are_no_secrets(load: Load) -> None:
    text = "backends: {a: {type: mock, api_token_env: T, max_tokens: 5, input: {key: C minor}}}"

    assert load(text).backends["a"].settings["input"] == {"key": "C minor"}


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path, {"HOME": "/h"})


def test_a_file_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "imagen.yaml"
    path.touch()
    path.chmod(0)
    if os.access(path, os.R_OK):
        # Root reads everything, so the system's answer is put into its mouth.
        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(path, {})


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_config(Path("/dev/zero"), {})


def test_text_that_is_not_utf8_is_refused_with_its_line(complaints: Complaints) -> None:
    assert complaints(b"# one\na: \xff\n") == [
        "~/imagen.yaml:2: not UTF-8 (byte 0xff) (save it as UTF-8)"
    ]


KEYS = st.sampled_from([*Config.model_fields, "type", "dir", "size", "x", "<<", "1", "concurrency"])
VALUES = st.recursive(
    st.sampled_from(["on", "~", "1", "-1", "1.5", "mock", "''", "&a b", "*a", "!!int x", "{date}"])
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        )
    ),
    max_leaves=12,
)
DOCUMENTS = st.lists(st.tuples(KEYS, VALUES), max_size=6).map(
    lambda items: "\n".join(f"{key}: {value}" for key, value in items).encode("utf-8", "replace")
)


@settings(
    max_examples=250,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=DOCUMENTS | st.binary(max_size=64))
def test_whatever_the_file_holds_it_is_a_configuration_or_a_clear_refusal(
    load: Load, content: bytes
) -> None:
    try:
        outcome = type(load(content)).__name__
    except ConfigError as exc:
        outcome = str(exc)

    assert outcome == "Config" or outcome.startswith("~/imagen.yaml:")
