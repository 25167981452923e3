"""One play: jobs are ordered, everything goes wrong, and the books are compared."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.queries.jobs import count_states
from tests.chaos.audit import sweep_once
from tests.chaos.kill_points import KillPoint
from tests.chaos.money.account import Account, settle_account
from tests.chaos.money.crew import Crew
from tests.chaos.money.stage import (
    HANGS_S,
    LEASE_S,
    PaidEnvironment,
    make_environment,
    open_provider,
)
from tests.fakes.replicate import FakeReplicate, Fault
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

#: Before this share of the jobs is through, everything that was to be done to them is done.
_HARM_UNTIL = 0.8
_BURST = 12


@dataclass
class Scene:
    """The settings of one play.

    ``jobs`` have a prompt and a seed of their own; ``twins`` are equal to each other in all, so
    that the provider's list cannot tell them apart. At each of ``points`` one worker dies.
    """

    folder: Path
    seed: int = 1
    jobs: int = 180
    twins: int = 20
    kills: int = 6
    freezes: int = 5
    bursts: int = 3
    points: Sequence[KillPoint] = ()
    threads: int = 6
    timeout_s: float = 400.0
    say: Callable[[str], None] = lambda _: None


@dataclass
class Ending:
    account: Account
    counts: Counter[str]
    died_at: Sequence[KillPoint]
    seconds: float


def perform(scene: Scene) -> Ending:
    """Play it to its end. Blocks for a minute or two."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        postgres = stack.enter_context(PostgresServer())
        fake = stack.enter_context(open_provider(scene.seed))
        environment = make_environment(
            scene.folder,
            fake,
            redis_url=redis_server.url,
            database_url=postgres.create_database(),
            threads=scene.threads,
        )
        stack.enter_context(environment)
        dice = random.Random(scene.seed)
        points = dice.sample(scene.points, len(scene.points))
        crew = Crew(environment, dice, say=scene.say, points=points)
        crew.begin()
        ordered = _order(environment, scene)
        _harm(scene, crew, fake, ordered=ordered)
        crew.thaw_all()
        _wait_for_all(scene, crew)
        statuses = crew.end()
        sweep_once(environment)
        account = settle_account(environment, fake, ordered=ordered, acts=crew.acts)
        if any(statuses):
            account.breaches.append(f"workers did not stop cleanly: {statuses}")
        return Ending(account, crew.counts, crew.died_at, time.monotonic() - began_s)


def _order(environment: PaidEnvironment, scene: Scene) -> int:
    ordered = 0
    if scene.twins:
        ordered += environment.order(["one of many foxes"] * scene.twins, seed=7)
    if scene.jobs:
        ordered += environment.order([f"fox number {number}" for number in range(scene.jobs)])
    return ordered


def _harm(scene: Scene, crew: Crew, fake: FakeReplicate, *, ordered: int) -> None:
    """Every act at its share of the way, in an order that the seed decides."""
    acts = ["kill"] * scene.kills + ["freeze"] * scene.freezes + ["burst"] * scene.bursts
    crew.dice.shuffle(acts)
    deadline_s = time.monotonic() + scene.timeout_s
    while crew.are_doomed and not _is_over(crew):
        assert time.monotonic() < deadline_s, _state(crew)
        crew.tend()
        time.sleep(0.02)
    for number, act in enumerate(acts):
        due = ordered * _HARM_UNTIL * number / len(acts)
        while _count_done(crew.environment) < due:
            assert time.monotonic() < deadline_s, _state(crew)
            # Calls in the air, for who is stopped or killed to be in the middle of one.
            fake.stage.hang_s = crew.dice.choice(HANGS_S)
            crew.tend()
            time.sleep(0.05)
        match act:
            case "kill":
                crew.kill("results" if crew.dice.random() < 0.15 else "cloud")
            case "freeze":
                crew.freeze(for_s=LEASE_S * crew.dice.uniform(0.6, 2.0))
            case "burst":
                scene.say(f"the next {_BURST} create calls are throttled")
                crew.counts["429 bursts"] += 1
                fake.inject(Fault.THROTTLED, _BURST)


def _wait_for_all(scene: Scene, crew: Crew) -> None:
    deadline_s = time.monotonic() + scene.timeout_s
    scene.say(f"no more harm; waiting for the rest: {_state(crew)}")
    while not _is_over(crew):
        assert time.monotonic() < deadline_s, _state(crew)
        crew.tend()
        time.sleep(0.1)


def _is_over(crew: Crew) -> bool:
    states = count_states(crew.environment.imagen().ledger, EVERYTHING)
    return all(JobState(state).is_terminal for state, number in states.items() if number)


def _count_done(environment: PaidEnvironment) -> int:
    states = count_states(environment.imagen().ledger, EVERYTHING)
    return sum(number for state, number in states.items() if JobState(state).is_terminal)


def _state(crew: Crew) -> str:
    states = count_states(crew.environment.imagen().ledger, EVERYTHING)
    return ", ".join(f"{JobState(state).value} {number}" for state, number in states.items())
