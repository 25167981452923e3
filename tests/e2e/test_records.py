"""What is recorded of an image is what happened, whoever drew it and wherever one looks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from imagen.cli.main import run
from imagen.cli.screen.screen import Screen
from imagen.cli.shell import Shell
from imagen.ledger.store.outgoing_tables import imagen_usage
from tests.chaos.paid_backend import TOKEN_ENV
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.replicate import FakeReplicate
from tests.processes.commands import run_imagen
from tests.processes.environment import Environment
from tests.servers.redis_and_postgres import PostgresAddress, RedisAddress

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

OTHER_MODEL = "another.safetensors"
#: Draws 128x96 whatever is asked for, takes no negative, and an option names its model.
GRAPH: Mapping[str, Any] = {
    "5": {
        "class_type": "EmptySD3LatentImage",
        "inputs": {"width": 128, "height": 96, "batch_size": 1},
    },
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["30", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["31", 0], "vae": ["30", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
    "30": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "flux1-schnell-fp8.safetensors"},
    },
    "31": {
        "class_type": "KSampler",
        "inputs": {
            **{"seed": 1, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "denoise": 1.0},
            **{"scheduler": "simple", "model": ["30", 0], "latent_image": ["5", 0]},
            **{"positive": ["6", 0], "negative": ["33", 0]},
        },
    },
    "33": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}},
}
BOUND = {"prompt": "6.text", "seed": "31.seed", "steps": "31.steps", "base": "30.ckpt_name"}


@dataclass(frozen=True)
class Place:
    """A configuration and a ledger, with workers or without."""

    environment: Environment
    has_workers: bool

    def imagen(self, *words: str) -> dict[str, Any]:
        """What a command answers with ``--json``."""
        done = run_imagen(*words, "--json", cwd=self.environment.output, env=self.variables())
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def variables(self) -> dict[str, str]:
        broker = {} if self.has_workers else {"IMAGEN_BROKER_URL": ""}
        return self.environment.variables() | broker

    def ask(self, *words: str) -> dict[str, Any]:
        """As ``imagen``, in this process: for what only looks."""
        out, err = io.StringIO(), io.StringIO()
        variables = self.variables()
        code = run((*words, "--json"), Shell(variables, Screen(out, err, variables)))
        assert code == 0, err.getvalue()
        answer: dict[str, Any] = json.loads(out.getvalue())
        return answer

    def generate(self, *words: str) -> dict[str, Any]:
        return self.imagen("generate", "a fox", "--wait", *words)


@pytest.fixture(scope="module")
def comfyui() -> Iterator[FakeComfyUI]:
    models = {"checkpoints": ("flux1-schnell-fp8.safetensors", OTHER_MODEL)}
    with FakeComfyUI(draw_s=0.01, models=models) as fake:
        yield fake


@pytest.fixture(scope="module")
def replicate() -> Iterator[FakeReplicate]:
    with FakeReplicate(draw_s=0.02) as fake:
        yield fake


@pytest.fixture(
    scope="module",
    params=[
        "embedded on sqlite",
        "embedded on postgresql",
        "queue on sqlite",
        "queue on postgresql",
    ],
)
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    comfyui: FakeComfyUI,
    replicate: FakeReplicate,
    redis_server: RedisAddress,
    postgres_server: PostgresAddress,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("records")
    (folder / "own.json").write_text(json.dumps(GRAPH))
    paid = {
        "type": "replicate",
        "base_url": replicate.url,
        "download_hosts": list(replicate.download_hosts),
    }
    backends = {
        "own": {
            "type": "comfyui",
            "url": comfyui.url,
            "workflow": str(folder / "own.json"),
            "bind": BOUND,
        },
        "schnell": {**paid, "model": "black-forest-labs/flux-schnell"},
        "blind": {**paid, "model": "acme/blind"},
        "mock": {"type": "mock", "cost_usd": 0.01},
    }
    has_workers = request.param.startswith("queue")
    with ExitStack() as stack:
        url = ""
        if request.param.endswith("postgresql"):
            url = postgres_server.create_database()
            stack.callback(postgres_server.drop_database, url)
        redis_url = redis_server.fresh_url()
        environment = stack.enter_context(
            Environment(
                folder / "stage",
                redis_url,
                url,
                backends=backends,
                secrets={TOKEN_ENV: "test-token"},
            )
        )
        if has_workers:
            for worker in [environment.start(role) for role in ("gpu", "cloud", "results")]:
                worker.wait_ready()
        yield Place(environment, has_workers)


def everything_told(place: Place, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the commands, the sidecar and the image itself say."""
    id_, path = answer["id"], Path(answer["path"])
    sidecar = json.loads(Path(answer["sidecar"]).read_text())
    [waited] = place.ask("jobs", "wait", id_)["jobs"]
    listed = place.ask("jobs", "ls", "--limit", "100")["jobs"]
    [listed_one] = [each for each in listed if each["id"] == id_]
    image = place.ask("show", str(path))["record"]
    return [answer, place.ask("jobs", "show", id_), waited, listed_one, sidecar, image]


def usage_of(place: Place, answer: Mapping[str, Any]) -> Any:
    shown = place.ask("jobs", "show", answer["id"])
    with place.environment.ledger.read() as connection:
        statement = select(imagen_usage)
        rows = connection.execute(statement).all()
    [row] = [row for row in rows if str(row.attempt_id) == shown["attempts"][-1]["id"]]
    return row


def test_every_record_has_the_real_size_the_asked_one_and_the_warnings(place: Place) -> None:
    answer = place.generate("--backend", "own", "--size", "1920x1080", "--negative", "text")

    with Image.open(answer["path"]) as image:
        assert image.size == (128, 96)
    for told in everything_told(place, answer):
        assert (told["width"], told["height"]) == (128, 96)
        assert told["requested_size"] == "1920x1080"
        assert len(told["warnings"]) == len(set(told["warnings"])) == 3
        assert any("takes no width and height" in warning for warning in told["warnings"])
        assert any("the workflow drew 128x96" in warning for warning in told["warnings"])


def test_a_negative_that_was_not_sent_is_on_no_record(place: Place) -> None:
    answer = place.generate("--backend", "own", "--negative", "watermark")

    for told in everything_told(place, answer):
        assert told["negative"] == ""
        assert any("takes no negative prompt" in warning for warning in told["warnings"])


def test_the_filled_graph_says_which_model_drew(place: Place) -> None:
    answer = place.generate("--backend", "own", "--opt", f"base={OTHER_MODEL}", "--seed", "5")

    for told in everything_told(place, answer):
        assert (told["model"], told["seed"], told["steps"]) == (OTHER_MODEL, 5, 4)
    assert usage_of(place, answer).model == OTHER_MODEL


def test_a_seed_and_a_negative_that_the_model_cannot_take_are_on_no_record(place: Place) -> None:
    answer = place.generate(
        *("--backend", "blind", "--seed", "5", "--negative", "watermark", "--steps", "9")
    )

    for told in everything_told(place, answer):
        assert (told["seed"], told["negative"], told["steps"]) == (None, "", None)
        assert any("takes no seed" in warning for warning in told["warnings"])
        assert any("takes no negative prompt" in warning for warning in told["warnings"])
        assert told["model"] == "acme/blind"
    row = usage_of(place, answer)
    assert (row.seed, row.model) == (None, "acme/blind")


def test_what_was_sent_is_recorded_as_sent(place: Place) -> None:
    answer = place.generate(
        *("--backend", "mock", "--negative", "text", "--seed", "9", "--steps", "3"),
        *("--size", "80x64"),
    )

    for told in everything_told(place, answer):
        assert (told["seed"], told["negative"], told["steps"]) == (9, "text", 3)
        assert (told["width"], told["height"], told["requested_size"]) == (80, 64, "80x64")
        assert told["warnings"] == []


def test_a_batch_tells_the_warnings_of_submission_and_drawing(place: Place) -> None:
    (place.environment.folder / "three.txt").write_text("one\ntwo\nthree\n")

    told = place.imagen("batch", "../three.txt", "--backend", "own", "--size", "640x480")

    assert told["drawn"] == 3
    assert set(told["warnings"].values()) == {3}
    assert any("takes no width and height" in warning for warning in told["warnings"])
    assert any("the workflow drew 128x96" in warning for warning in told["warnings"])
