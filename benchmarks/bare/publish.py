"""The least that sends many messages: an apply_async loop.

Arguments: the broker's address and how many messages.
"""

from __future__ import annotations

import sys

from celery import Celery


def main(broker_url: str, number: int) -> None:
    """Send the messages one after the other, as most programs do."""
    app = Celery("bare", broker=broker_url)
    app.conf.task_ignore_result = True

    @app.task(name="bare.draw")
    def draw(prompt: str) -> None:
        """It is never run here."""

    for i in range(number):
        draw.apply_async(
            (f"a lighthouse on a cliff above a stormy sea at dawn, view {i}",), queue="bare"
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
