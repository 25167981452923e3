"""A ComfyUI without a GPU: a real HTTP and websocket server that behaves as the real one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.comfyui.device import Speed
from tests.fakes.comfyui.disk import Disk
from tests.fakes.comfyui.engine import Engine
from tests.fakes.comfyui.faults import Faults
from tests.fakes.comfyui.nodes import DEFAULT_MODELS, make_nodes
from tests.fakes.comfyui.records import Execution, Records, Submission
from tests.fakes.comfyui.web import ComfyUIHandler
from tests.fakes.http import LoopbackServer


class FakeComfyUI:
    """A server on loopback; start it with ``with`` or ``start``.

    It behaves as ComfyUI 0.3.64 was observed to, traps included: one id posted twice runs
    twice, a 500 may have queued the prompt, a second socket with the same client id goes deaf,
    one reader that does not read stops all events, file names are given again, an identical
    graph is answered from the cache, and a restart forgets everything but the files.

    Attributes:
        records: what was asked and what the device did, restarts included.
        disk: the output folder.
        faults: what is to go wrong; see ``faults.FAULTS`` for the names.
        required_header: name and value that every request must carry, as behind a proxy.
        version: what it says it is, 0.3.64 or 0.33.0 (observed on 2026-11-21); the later one words
            some refusals in another way and has LoadImage keep to its folder.
        ignores_prompt_ids: it chooses the ids itself, as versions before 2025 did.
        global_interrupts: how many interrupts named no prompt.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        draw_s: float = 0.0,
        load_s: float = 0.0,
        history_lag_s: float = 0.0,
        models: Mapping[str, tuple[str, ...]] = DEFAULT_MODELS,
        required_header: tuple[str, str] | None = None,
        version: str = "0.3.64",
        ignores_prompt_ids: bool = False,
    ) -> None:
        """Times in seconds: of drawing one image, of loading another model, and between the
        success event and the history entry. ``port`` 0 takes a free one and keeps it.
        """
        self.host, self.port = host, port
        self.speed = Speed(draw_s, load_s, history_lag_s)
        self.models = models
        self.nodes = make_nodes(models)
        self.required_header = required_header
        self.version = version
        self.ignores_prompt_ids = ignores_prompt_ids
        self.records = Records()
        self.disk = Disk()
        self.faults = Faults()
        self.global_interrupts = 0
        self._lock = threading.RLock()
        self._life: _Life | None = None

    def __enter__(self) -> FakeComfyUI:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen. A free port is chosen once, so a restarted server is found where it was."""
        with self._lock:
            if self._life is None:
                self._life = _Life(self)
                self.port = self._life.port

    def kill(self) -> None:
        """End at once, as SIGKILL does: bare TCP closes, everything but the files forgotten."""
        with self._lock:
            life, self._life = self._life, None
            if life is not None:
                life.end()

    def restart(self, *, down_s: float = 0.0) -> None:
        """Kill, be gone for ``down_s`` seconds, and listen again. Blocks that long."""
        self.kill()
        time.sleep(down_s)
        self.start()

    def kill_from_inside(self) -> None:
        """Die by something the server was sent; returns before it is quite dead."""
        threading.Thread(target=self.kill, daemon=True).start()

    @property
    def is_running(self) -> bool:
        return self._life is not None

    def inject(self, name: str, *, times: int | None = 1, **values: Any) -> None:
        """Have a fault happen the next ``times`` times it can, or always; see ``FAULTS``."""
        self.faults.inject(name, times=times, **values)

    @property
    def submissions(self) -> list[Submission]:
        """Every prompt that was posted and understood, refused ones included."""
        return list(self.records.submissions)

    @property
    def executions(self) -> list[Execution]:
        """Every prompt the device has begun."""
        return list(self.records.executions)

    @property
    def engine(self) -> Engine:
        """The present life's queue and history, to look at or to tamper with."""
        assert self._life is not None, "the fake is not running"
        return self._life.engine

    def wait_until(self, condition: Callable[[], object], *, timeout_s: float = 10.0) -> None:
        """Return when ``condition`` holds.

        Raises:
            TimeoutError: it does not after ``timeout_s`` seconds.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline_s:
                raise TimeoutError(f"not so after {timeout_s:g} s")
            time.sleep(0.002)

    @staticmethod
    def now_s() -> float:
        return time.monotonic()


class _Life:
    """From one start to the kill that ends it."""

    def __init__(self, fake: FakeComfyUI) -> None:
        self.engine = Engine(
            nodes=fake.nodes,
            disk=fake.disk,
            faults=fake.faults,
            records=fake.records,
            speed=fake.speed,
            die=fake.kill_from_inside,
        )
        handler = type("LifeHandler", (ComfyUIHandler,), {"fake": fake, "engine": self.engine})
        self._server = LoopbackServer(handler, host=fake.host, port=fake.port)
        self.port = self._server.server_port
        self._server.start()

    def end(self) -> None:
        self._server.stop()
        self.engine.power_off()
