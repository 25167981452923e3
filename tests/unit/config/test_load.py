"""Tests of imagen.config.load: where the file is, and what wins."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagen.config.load import default_config_path, find_config, load_config, shown_path
from imagen.config.schema import BUILT_IN_BACKENDS, Config
from imagen.errors import ConfigError

Load = Callable[..., Config]


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Which file


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_default_place(
    tmp_path: Path,
) -> None:
    by_flag, by_variable = write(tmp_path / "flag.yaml"), write(tmp_path / "variable.yaml")
    by_default = write(tmp_path / ".config" / "imagen.yaml")
    env = {"HOME": str(tmp_path), "IMAGEN_CONFIG": str(by_variable)}

    assert find_config(str(by_flag), env) == by_flag
    assert find_config(None, env) == by_variable
    assert find_config("", {"HOME": str(tmp_path), "IMAGEN_CONFIG": ""}) == by_default


def test_the_xdg_folder_is_used_when_it_is_absolute(tmp_path: Path) -> None:
    xdg = write(tmp_path / "xdg" / "imagen.yaml")

    assert find_config(None, {"HOME": "/h", "XDG_CONFIG_HOME": str(xdg.parent)}) == xdg
    assert default_config_path({"HOME": "/h", "XDG_CONFIG_HOME": "rel"}) == Path(
        "/h/.config/imagen.yaml"
    )


def test_without_a_file_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert find_config(None, {"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("by", ["--config", "IMAGEN_CONFIG"])
def test_a_named_file_that_is_missing_is_an_error_that_says_who_named_it(
    tmp_path: Path, by: str
) -> None:
    missing = str(tmp_path / "none.yaml")
    env = {"HOME": str(tmp_path)} | ({} if by == "--config" else {by: missing})

    with pytest.raises(ConfigError) as caught:
        find_config(missing if by == "--config" else None, env)

    assert str(caught.value) == (
        f"{by} names ~/none.yaml, which does not exist"
        " (make it with: imagen config init > ~/none.yaml)"
    )


def test_a_tilde_that_the_shell_left_alone_is_home(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml")

    assert find_config("~/mine.yaml", {"HOME": str(tmp_path)}) == path


def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "imagen.yaml"
    path.parent.mkdir()
    path.symlink_to(tmp_path / "gone.yaml")
    env = {"HOME": str(tmp_path)}

    found = find_config(None, env)

    assert found == path
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(found, env)


def test_a_path_is_shown_as_its_owner_would_type_it() -> None:
    env = {"HOME": "/home/me"}

    assert shown_path(Path("/home/me/a/b.yaml"), env) == "~/a/b.yaml"
    assert shown_path(Path("/etc/b.yaml"), env) == "/etc/b.yaml"
    assert shown_path(Path("b.yaml"), env) == "b.yaml"


# What wins


def test_without_a_file_the_built_in_values_hold() -> None:
    assert load_config(None, {}).model_dump() == Config().model_dump()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "\ufeff", "styles:\nqueue:\n"])
def test_a_file_that_says_nothing_changes_nothing(load: Load, text: str) -> None:
    assert load(text).model_dump() == Config().model_dump()


def test_a_file_keeps_the_values_that_it_does_not_speak_of(load: Load) -> None:
    config = load("output: {dir: /pictures}\n")

    assert config.output.dir == "/pictures"
    assert config.output.naming == Config().output.naming
    assert config.styles == Config().styles


def test_the_environment_wins_over_the_file(load: Load) -> None:
    text = "output: {preview: on, cloud_sync: on}\nqueue: {broker_url: redis://file, window: 7}\n"

    config = load(
        text,
        IMAGEN_PREVIEW="off",
        IMAGEN_CLOUD_SYNC=" AUTO ",
        IMAGEN_BROKER_URL="redis://env/0",
        IMAGEN_DATABASE_URL="postgresql://env/db",
    )

    assert config.output.preview == "off"
    assert config.output.cloud_sync == "auto"
    assert config.queue.broker_url == "redis://env/0"
    assert config.queue.window == 7
    assert config.database.url == "postgresql://env/db"


def test_a_variable_that_is_set_to_nothing_counts_as_not_set(load: Load) -> None:
    assert load("output: {preview: on}\n", IMAGEN_PREVIEW="").output.preview == "on"


def test_a_backend_of_the_file_stands_beside_the_built_in_ones(load: Load) -> None:
    config = load("backends:\n  mine: {type: mock, latency_ms: 5}\n")

    assert list(config.backends) == [*BUILT_IN_BACKENDS, "mine"]
    assert config.backends["mine"].settings == {"latency_ms": 5}


def test_a_backend_of_a_built_in_name_replaces_the_whole_block(load: Load) -> None:
    config = load("backends:\n  flux-dev-local: {type: replicate, model: a/b}\n")

    assert config.backends["flux-dev-local"].type == "replicate"
    assert config.backends["flux-dev-local"].settings == {"model": "a/b"}


def test_styles_of_the_file_replace_the_built_in_one(load: Load) -> None:
    assert list(load("styles: {draft: {steps: 2}}\n").styles) == ["draft"]
    assert list(load("styles: {}\n").styles) == []


def test_a_value_knows_where_it_was_written(load: Load) -> None:
    config = load(
        "backends:\n  a: &a\n    type: mock\n    url: 1\n  b:\n    <<: *a\n    url: 2\n",
        IMAGEN_PREVIEW="on",
    )

    assert config.where(("backends", "a", "url")) == "~/imagen.yaml:4"
    assert config.where(("backends", "b", "type")) == "~/imagen.yaml:3"
    assert config.where(("backends", "b", "url")) == "~/imagen.yaml:7"
    assert config.where(("output", "preview")) == "environment IMAGEN_PREVIEW"
    assert config.where(("queue", "window")) == "built-in"


def test_a_copy_with_a_flag_applied_still_knows_its_lines(load: Load) -> None:
    config = load("default_backend: mock\n").model_copy(update={"owner_user_id": "x"})

    assert config.where(("default_backend",)) == "~/imagen.yaml:1"


def test_a_pipe_is_read_like_a_file() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"default_backend: mock\n")
    os.close(writer)

    config = load_config(Path(f"/dev/fd/{reader}"), {})
    os.close(reader)

    assert config.default_backend == "mock"
