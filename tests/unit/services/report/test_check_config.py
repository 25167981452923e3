"""Tests of imagen.services.report.check_config: adapters' blocks, with lines and near misses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from imagen.backends.adapter import AdapterContext
from imagen.config.load import load_config, sample_text
from imagen.config.schema import BUILT_IN_BACKENDS, Config
from imagen.domain.protocols import Backend
from imagen.errors import ConfigError
from imagen.services.report.check_config import backend_specs, check_config, require_valid
from tests.fakes.adapters import install


class Bind(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = ""
    seed: str = ""


class Needy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    zone: str
    rack: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = ""
    workflow: Literal["flux-schnell", "flux-dev", "smoke"] = "smoke"
    model: str = ""
    api_token_env: str = ""
    default_steps: Annotated[int, Field(ge=1)] | None = None
    timeout_s: float | Literal["auto"] = "auto"
    bind: Bind | None = None
    binds: dict[str, Bind] = Field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    region: Literal["eu"] | Needy | None = None

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, value: str) -> str:
        if value and "://" not in value:
            raise ValueError("an address begins with http:// or https://")
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> Strict:
        if self.url and self.model:
            raise ValueError("url and model do not go together")
        return self


class Lax(BaseModel):
    url: str = ""


class Refusing(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        raise ConfigError("no such workflow", "see docs/comfyui.md")


class Stub:
    default_queue = "gpu"

    def __init__(self, settings_type: type[BaseModel]) -> None:
        self.settings_type = settings_type

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> Backend:
        raise AssertionError("checking builds nothing")


STRICT = Stub(Strict)
ADAPTERS = install(strict=STRICT, lax=Stub(Lax), refusing=Stub(Refusing))


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "imagen.yaml"
    path.write_text(text)
    return load_config(path, {"HOME": str(tmp_path)})


def test_every_block_is_checked_at_once_with_lines_and_near_misses(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
backends:
  a:
    type: strict
    urll: http://x
    workflow: flux-schnel
    bind:
      promt: 6.text
  b:
    type: strict
    quue: big
    default_steps: 0
    timeout_s: soon
    binds: {x: {seeed: y}}
    hosts: [a, 5]
  c: {type: stric}
  d:
    type: lax
    urls: x
""",
    )

    assert check_config(config, ADAPTERS) == [
        "~/imagen.yaml:4: unknown key 'urll' in backends.a; did you mean 'url'?",
        "~/imagen.yaml:5: backends.a.workflow must be 'flux-schnell', 'flux-dev' or 'smoke',"
        " not 'flux-schnel'",
        "~/imagen.yaml:7: unknown key 'promt' in backends.a.bind; did you mean 'prompt'?",
        "~/imagen.yaml:10: unknown key 'quue' in backends.b; did you mean 'queue'?",
        "~/imagen.yaml:11: backends.b.default_steps must be at least 1, not the number 0",
        "~/imagen.yaml:12: backends.b.timeout_s must be a number or 'auto', not 'soon'",
        "~/imagen.yaml:13: unknown key 'seeed' in backends.b.binds.x; did you mean 'seed'?",
        "~/imagen.yaml:14: backends.b.hosts[1] must be text, not the number 5; put it in quotes",
        "~/imagen.yaml:15: unknown backend type 'stric'; did you mean 'strict'?"
        " installed types: lax, refusing, strict",
        "~/imagen.yaml:18: unknown key 'urls' in backends.d; did you mean 'url'?",
    ]


def test_what_an_adapter_says_itself_is_told_as_it_is(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
backends:
  a: {type: strict, url: x}
  b:
    type: strict
    url: http://u:hunter2@x
    model: y
  c: {type: refusing}
""",
    )

    assert check_config(config, ADAPTERS) == [
        "~/imagen.yaml:2: backends.a.url: an address begins with http:// or https://",
        "~/imagen.yaml:3: backends.b: url and model do not go together",
        "~/imagen.yaml:7: backends.c: no such workflow (see docs/comfyui.md)",
    ]


def test_a_block_that_is_one_of_several_kinds_is_complained_about_by_its_own_keys(
    tmp_path: Path,
) -> None:
    config = load(
        tmp_path, "backends:\n  a:\n    type: strict\n    region:\n      rack: x\n      zon: y\n"
    )

    assert check_config(config, ADAPTERS) == [
        "~/imagen.yaml:4: backends.a.region must be 'eu', not a block of keys",
        "~/imagen.yaml:4: backends.a.region needs 'zone'",
        "~/imagen.yaml:5: backends.a.region.rack must be a whole number, not 'x'",
        "~/imagen.yaml:6: unknown key 'zon' in backends.a.region; did you mean 'zone'?",
    ]


def test_a_configuration_that_came_from_no_file_is_complained_about_all_the_same() -> None:
    config = Config.model_validate(
        {"backends": {"a": {"type": "strict", "urll": "x", "default_steps": 0}}}
    )

    assert check_config(config, ADAPTERS) == [
        "built-in: backends.a.default_steps must be at least 1, not the number 0",
        "built-in: unknown key 'urll' in backends.a; did you mean 'url'?",
    ]


def test_only_the_backends_that_are_used_are_looked_at(tmp_path: Path) -> None:
    config = load(tmp_path, "backends: {a: {type: strict, x: 1}, b: {type: strict, y: 1}}\n")

    (line,) = check_config(config, ADAPTERS, backends=["b"])

    assert "unknown key 'y' in backends.b" in line


def test_a_built_in_backend_whose_type_is_not_installed_is_left_out_in_silence() -> None:
    adapters = install(mock=STRICT)

    assert check_config(Config(), adapters) == []
    assert [spec.name for spec in backend_specs(Config(), adapters)] == ["mock"]


def test_a_backend_of_the_users_own_is_never_left_out(tmp_path: Path) -> None:
    config = load(tmp_path, "backends: {flux-dev-local: {type: comfyui, url: x}}\n")
    adapters = install(mock=STRICT)

    assert len(check_config(config, adapters)) == 1
    assert [spec.name for spec in backend_specs(config, adapters)] == ["flux-dev-local", "mock"]


def test_a_specification_carries_the_sub_block_and_nothing_else(tmp_path: Path) -> None:
    config = load(tmp_path, "backends: {a: {type: strict, queue: big, url: x}}\n")

    (spec,) = (each for each in backend_specs(config, ADAPTERS) if each.name == "a")

    assert (spec.type, spec.queue, spec.settings) == ("strict", "big", {"url": "x"})


def test_the_sample_fits_adapters_that_read_its_keys(tmp_path: Path) -> None:
    adapters = install(mock=STRICT, comfyui=STRICT, replicate=STRICT)

    assert check_config(load(tmp_path, sample_text()), adapters) == []
    assert len(backend_specs(Config(), adapters)) == len(BUILT_IN_BACKENDS)


def test_a_caller_that_cannot_go_on_gets_every_line_in_one_error(tmp_path: Path) -> None:
    config = load(tmp_path, "backends:\n  a: {type: strict, x1: 1}\n  b: {type: strict, y: 1}\n")

    require_valid(config, ADAPTERS, backends=["mock"])
    with pytest.raises(ConfigError) as caught:
        require_valid(config, ADAPTERS)

    assert len(str(caught.value).splitlines()) == 2
