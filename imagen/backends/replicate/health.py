"""Checks whether a Replicate backend can draw now, without cost and within 5 s."""

from __future__ import annotations

import queue
import threading
from datetime import UTC, datetime

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.refusals import quote_detail, refusal_of
from imagen.backends.replicate.models.prices import STALE_AFTER_DAYS, PriceRule, stale_since
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.drawn import Health
from imagen.errors import CredentialError
from imagen.http.exchange import Unanswered

# ``Backend.check`` promises 5 s. No library's timeout covers a name server that does not answer.
_LIMIT_S = 4.5
_CALL_TIMEOUT_S = 2.0


def check_health(client: Client, settings: ReplicateSettings, price: PriceRule | None) -> Health:
    """The backend's health, after at most 4.5 s and two GETs that no rate limit delays.

    The balance is not checked, as no call shows it: a create call without credit gets a 402.
    """
    found: queue.SimpleQueue[Health] = queue.SimpleQueue()
    asking = threading.Thread(
        target=lambda: found.put(_ask(client, settings, price)),
        name="replicate-check",
        daemon=True,
    )
    asking.start()
    try:
        return found.get(timeout=_LIMIT_S)
    except queue.Empty:
        return Health(
            "unreachable",
            f"no answer from {settings.base_url} within {_LIMIT_S:g} s",
            "is this host online?",
        )


def _ask(client: Client, settings: ReplicateSettings, price: PriceRule | None) -> Health:
    try:
        account = client.get("/account", timeout_s=_CALL_TIMEOUT_S)
        if not account.is_success:
            return _refused(account, settings)
        model = client.get(f"/models/{settings.owner_and_name}", timeout_s=_CALL_TIMEOUT_S)
    except CredentialError as exc:
        return Health("not configured", exc.message, exc.hint)
    except Unanswered as exc:
        return Health("unreachable", f"{settings.base_url}: {exc.reason}", "is this host online?")
    if model.status == 404:
        return Health(
            "unreachable", f"Replicate has no model {settings.owner_and_name}", "correct its name"
        )
    if not model.is_success:
        return _refused(model, settings)
    if settings.version is None and model.fields.get("is_official") is False:
        return Health(
            "not configured",
            f"{settings.model} is not an official model",
            f"write model: {settings.owner_and_name}:VERSION",
        )
    name = account.fields.get("username")
    reason = f"{settings.model}, account {name}" if name else settings.model
    return Health("ok", reason, warnings=_price_warnings(settings, price))


def _refused(answer: ApiAnswer, settings: ReplicateSettings) -> Health:
    refused = refusal_of(answer, settings, name=settings.model)
    if isinstance(refused, CredentialError):
        return Health("not configured", refused.message, refused.hint)
    detail = quote_detail(answer, ())
    said = f": {detail}" if detail else ""
    return Health(
        "unreachable",
        f"{settings.base_url} answered {answer.status}{said}",
        "is base_url right? try again later",
    )


def _price_warnings(settings: ReplicateSettings, price: PriceRule | None) -> tuple[str, ...]:
    if price is None:
        return (f"the price of {settings.model} is unknown; set price in its settings",)
    read_on = stale_since(price, datetime.now(UTC).date())
    if read_on is None:
        return ()
    return (
        f"the price of {settings.model} was read on {read_on}, more than {STALE_AFTER_DAYS} days"
        " ago; set price in its settings to what holds now",
    )
