"""A file of real prompts, drawn while every worker is killed five times and Redis forgets all."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.queries.jobs import count_states
from tests.chaos.audit import Audit, audit, queue_lengths, sweep_once
from tests.chaos.script import Play, Slot
from tests.chaos.stage import Stage, wait_until
from tests.chaos.watch import Recovered, Watch
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

_KILLS_EACH = 5


@dataclass
class Drawn:
    """What came of it: ``doubles`` are prompts that were drawn more than once."""

    prompts: int
    audit: Audit
    doubles: int
    seconds: float
    kills: Counter[str] = field(default_factory=Counter)
    recovered: list[Recovered] = field(default_factory=list)


def read_prompts(path: Path) -> list[str]:
    """The first column of a tab-separated file, without its header."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines if line.strip()]


def draw_file(
    prompts: list[str], *, folder: Path, seed: int, database: str, say: Callable[[str], None]
) -> Drawn:
    """Draw them with three worker processes on one host and settings as nobody changed them."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        url = ""
        if database == "postgresql":
            url = stack.enter_context(PostgresServer()).create_database()
        backends = {"mock": {"type": "mock", "latency_ms": 40}}
        stage = stack.enter_context(
            Stage(folder / "stage", redis_server.url, url, workers={}, backends=backends)
        )
        watch = Watch(stage.imagen().ledger)
        slots = [Slot("gpu"), Slot("gpu"), Slot("results")]
        play = Play(stage, slots, watch, random.Random(seed), points={}, say=say)
        watch.start()
        stack.callback(watch.stop)
        play.begin()
        stage.submit(prompts, name=folder.name)
        _harm(play, len(prompts))
        _wait_for_all(play, len(prompts), say)
        play.end()
        sweep_once(stage)
        found = audit(stage)
        return Drawn(
            len(prompts),
            found,
            found.attempts["drawn"] - found.jobs,
            time.monotonic() - began_s,
            play.counts,
            watch.recovered,
        )


def _harm(play: Play, jobs: int) -> None:
    """Each slot is killed five times, spread over the whole run; Redis is flushed in the middle."""
    acts = [str(number) for number in range(len(play.slots))] * _KILLS_EACH
    play.dice.shuffle(acts)
    acts.insert(len(acts) // 2, "flush")
    for number, act in enumerate(acts, start=1):
        # By progress, not by time: so that no kill comes when all is done.
        due = jobs * 0.9 * number / (len(acts) + 1) * play.dice.uniform(0.9, 1.0)
        while _done(play.stage) < due:
            play.wait(0.05)
        if act == "flush":
            play.flush_redis()
        else:
            play.kill_slot(int(act))


def _wait_for_all(play: Play, number: int, say: Callable[[str], None]) -> None:
    say("no more harm; waiting for the rest")
    deadline_s = time.monotonic() + 600
    while _done(play.stage) < number:
        assert time.monotonic() < deadline_s, count_states(play.stage.imagen().ledger, EVERYTHING)
        play.wait(0.1)
    wait_until(lambda: queue_lengths(play.stage) == 0, what="queues are empty")


def _done(stage: Stage) -> int:
    states = count_states(stage.imagen().ledger, EVERYTHING)
    return sum(states.get(state, 0) for state in JobState if state.is_terminal)
