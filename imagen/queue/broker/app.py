"""The Celery application, with settings under which no message was lost in tests.

Measured on Celery 5.7 with Redis 7.0; see docs/architecture.md for what each answers.
"""

from __future__ import annotations

import ssl
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from imagen.queue.broker.routing import GENERATE_TASK, KEY_PREFIX

#: Longer than any lease or countdown: a message that is older runs again, beside the first one.
VISIBILITY_TIMEOUT_S = 1800

#: While Redis is away the first send fails within about two seconds.
_PUBLISH_RETRIES = {
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}


def make_app(broker_url: str) -> Celery:
    """A Celery application on that broker; connects to nothing yet."""
    app = Celery("imagen", broker=broker_url, set_as_current=False)
    app.conf.update(
        # No results in Redis: the ledger knows them, and prompts and images stay out of it.
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        # Both are needed for a message to outlive its worker.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure=True,
        task_acks_on_timeout=True,
        worker_prefetch_multiplier=1,
        # True lost running tasks in 3 of 3 Redis restarts; pinned because Celery 6 flips it.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_eta_task_limit=1000,
        worker_send_task_events=True,
        task_send_sent_event=True,
        task_track_started=True,
        broker_connection_retry_on_startup=True,
        # The default gives up after 100 tries, and the worker exits.
        broker_connection_max_retries=None,
        broker_connection_timeout=4,
        task_publish_retry_policy=_PUBLISH_RETRIES,
        broker_transport_options=_transport_options(),
        visibility_timeout=VISIBILITY_TIMEOUT_S,
        task_default_queue="imagen",
        task_routes={GENERATE_TASK: {"queue": "gpu"}},
        worker_hijack_root_logger=False,
        **_tls_options(broker_url),
    )
    return app


def serve(app: Celery, queues: list[str], *, concurrency: int) -> None:
    """Make workers of ``app`` consume these queues with that many threads."""
    app.conf.update(
        # Drops messages of others; kombu's own transport would end the worker.
        broker_transport="imagen.queue.broker.transport:CheckingTransport",
        # Each with its own exchange and key, as Celery makes them for unknown queues: under one key
        # every queue would get every message.
        task_queues=[Queue(name, Exchange(name), name) for name in queues],
        # Threads, never solo: solo loses its job on a cold shutdown. Prefork would be killed with
        # leases held, and every child would need a heartbeat of its own.
        worker_pool="threads",
        worker_concurrency=concurrency,
    )


def _tls_options(broker_url: str) -> dict[str, Any]:
    """Verify the broker's certificate, unless its address says otherwise.

    kombu does not by default, and would send the password to any server. Observed on kombu 5.7.0.
    """
    if not broker_url.startswith("rediss://") or "ssl_cert_reqs" in broker_url:
        return {}
    return {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}}


def _transport_options() -> dict[str, Any]:
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        # The default sweep comes every 100 s.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "global_keyprefix": KEY_PREFIX,
        # Without them a half-open connection hangs a publish for ever.
        "socket_timeout": 30,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }
