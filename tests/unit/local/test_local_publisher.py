"""Idle threads sleep; one of them is woken at a time."""

from __future__ import annotations

import queue
import threading

from imagen.local.local_publisher import SleepingThreads

DEADLINE_S = 30


def test_one_wake_lets_one_thread_look() -> None:
    sleepers, woken = SleepingThreads(), queue.Queue[str]()

    def sleep() -> None:
        sleepers.sleep()
        woken.put("up")

    threads = [threading.Thread(target=sleep, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()

    sleepers.wake_one()

    assert woken.get(timeout=DEADLINE_S) == "up"
    assert woken.empty()
    sleepers.close()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert woken.qsize() == 3


def test_a_wake_before_the_sleep_is_not_slept_through() -> None:
    sleepers = SleepingThreads()
    sleepers.wake_one()

    sleeper = threading.Thread(target=sleepers.sleep, daemon=True)
    sleeper.start()
    sleeper.join(DEADLINE_S)

    assert not sleeper.is_alive()


def test_nobody_sleeps_after_the_end() -> None:
    sleepers = SleepingThreads()
    sleepers.close()

    sleepers.sleep()
    sleepers.sleep()
