"""Starts and stops the fake Supabase, and lets a test look into it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tests.fakes.faults import FaultQueue
from tests.fakes.http import LoopbackServer, RecordedRequest
from tests.fakes.supabase.exchange import Reply, Request, json_reply
from tests.fakes.supabase.faults import Service, SupabaseFault, TargetedFault
from tests.fakes.supabase.keyring import ANON, SERVICE, Keyring, make_jwt
from tests.fakes.supabase.tables import Record
from tests.fakes.supabase.web import SupabaseHandler, read_json
from tests.fakes.supabase.world import FakeBucket, ProjectStore, Stored

KEY = "sb_secret_test-token"
#: What ``/_fake/settings`` may change.
_SETTINGS = ("max_rows", "slow_s", "postgrest", "max_body_bytes", "upload_limit_bytes")


class FakeSupabase:
    """A Supabase project on this machine, for the time of a ``with`` block.

    >>> with FakeSupabase() as fake:
    ...     fake.inject(SupabaseFault.READ_ONLY, service=Service.STORAGE, times=2)
    ...     use(env=fake.env)
    ...     assert len(fake.objects()) == 1
    ...     assert len(fake.rows("imagen", "images")) == 1

    It starts without a bucket and with both tables, empty, exposed and granted; ``world`` holds
    what may be changed while it runs. ``chances`` makes faults strike at random.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = KEY,
        chances: Mapping[SupabaseFault, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.key = key
        self.jwt_key = make_jwt(SERVICE)
        self.anon_key = make_jwt(ANON)
        keyring = Keyring({key: SERVICE, self.jwt_key: SERVICE, self.anon_key: ANON})
        self.world = ProjectStore(keyring)
        targeted = {TargetedFault(fault): chance for fault, chance in (chances or {}).items()}
        self._faults = FaultQueue(targeted, seed=seed)
        self._server: LoopbackServer | None = None
        self._port = port
        #: Ends answers that are slow on purpose.
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.go_down()

    def come_back(self) -> None:
        """Listen, on the same port as before, knowing all that it knew."""
        if self._server is None:
            handler = type(
                "SupabaseHandler",
                (SupabaseHandler,),
                {
                    "world": self.world,
                    "faults": self._faults,
                    "control": staticmethod(self._control),
                    "is_over": self._is_over,
                },
            )
            self._is_over.clear()
            self._server = LoopbackServer(handler, port=self._port)
            self._port = self._server.server_port
            self._server.start()

    def go_down(self) -> None:
        """Refuse connections, and cut those there are; ``come_back`` ends it."""
        if self._server is not None:
            self._is_over.set()
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """What SUPABASE_URL is to be."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment that leads here, with the secret key."""
        return {"SUPABASE_URL": self.url, "SUPABASE_SERVICE_KEY": self.key}

    def inject(
        self,
        fault: SupabaseFault,
        *,
        service: Service | None = None,
        method: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Let a fault strike the next ``times`` requests that fit, or from now on with None."""
        self._faults.inject(TargetedFault(fault, service, method), times)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.heal()

    def add_bucket(self, name: str = "imagen-generated", **settings: Any) -> FakeBucket:
        """A bucket made beforehand; ``public``, ``file_size_limit``, ``allowed_mime_types``."""
        with self.world.lock:
            self.world.buckets[name] = FakeBucket(**settings)
            return self.world.buckets[name]

    def objects(self, bucket: str = "imagen-generated") -> dict[str, Stored]:
        """A bucket's objects by key, none where there is no bucket."""
        with self.world.lock:
            found = self.world.buckets.get(bucket)
            return dict(found.objects) if found else {}

    def rows(self, schema: str, table: str) -> list[Record]:
        """A table's rows; numeric columns are Decimal, times are datetime."""
        with self.world.lock:
            return [dict(row) for row in self.world.tables[schema, table].rows]

    @property
    def calls(self) -> list[RecordedRequest]:
        """Every request so far, those that a fault struck included."""
        with self.world.lock:
            return list(self.world.calls)

    def count_calls(self, method: str, part: str) -> int:
        """Requests by that method whose path has ``part`` in it."""
        return sum(call.method == method and part in call.path for call in self.calls)

    def _control(self, request: Request) -> Reply:
        """``GET /_fake/stats``, ``/_fake/requests``; ``POST /_fake/inject``, ``/_fake/settings``,
        ``/_fake/heal``."""
        what = (request.method, request.path.removeprefix("/_fake/"))
        if what == ("GET", "stats"):
            return json_reply(200, self.world.stats())
        if what == ("GET", "requests"):
            return json_reply(200, [[call.method, call.path, call.query] for call in self.calls])
        if what == ("POST", "heal"):
            self.heal()
            return json_reply(200, {})
        if what == ("POST", "inject"):
            return self._inject_asked(read_json(request))
        if what == ("POST", "settings"):
            asked = {name: value for name, value in read_json(request).items() if name in _SETTINGS}
            for name, value in asked.items():
                setattr(self.world, name, value)
            return json_reply(200, asked)
        return json_reply(404, {})

    def _inject_asked(self, asked: Mapping[str, Any]) -> Reply:
        service = Service(asked["service"]) if asked.get("service") else None
        times = asked.get("times", 1)
        self.inject(
            SupabaseFault(asked["fault"]), service=service, method=asked.get("method"), times=times
        )
        return json_reply(200, {})
