"""Replicate's error answers as imagen's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagen.backends.replicate.api.client import ApiAnswer
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    CredentialError,
    ImagenError,
    OutOfCredit,
    RateLimited,
)
from imagen.http.reading import read_retry_after_s as read_header_s
from imagen.http.reading import read_seconds

_BILLING_URL = "https://replicate.com/account/billing"
_MAX_DETAIL_CHARS = 300
_MAX_READ_CHARS = 10_000
_MAX_WAIT_S = 3600.0
_ABOUT_TOKEN = re.compile(r"\btoken|authenticat|\bapi key|credential", re.IGNORECASE)
# "Your rate limit resets in ~30s." Source: replicate.com/docs/topics/predictions/rate-limits.
_RESETS_IN = re.compile(r"resets in\s*~?\s*([0-9]+(?:\.[0-9]+)?)\s*s", re.IGNORECASE)


def is_unclear(answer: ApiAnswer) -> bool:
    """Whether a create call with this answer, without a readable id, may have created anything.

    One that was answered with a 504 was seen to have created and billed a prediction.
    """
    return answer.status >= 500 or answer.status == 408 or answer.is_success


def refusal_of(
    answer: ApiAnswer, settings: ReplicateSettings, *, name: str, private: tuple[str, ...] = ()
) -> ImagenError:
    """The error for an answer below 500 that refuses the call; such a call created nothing.

    ``private`` are texts that the message must not quote, such as the prompt.
    """
    status, detail = answer.status, quote_detail(answer, private)
    said = f": {detail}" if detail else ""
    if status == 401 or (status == 403 and _ABOUT_TOKEN.search(detail)):
        return CredentialError(
            f"Replicate refused the token in {settings.api_token_env} ({status}){said}",
            f"set {settings.api_token_env} to a valid token",
        )
    if status == 403:
        return _forbidden(settings, name=name, said=said)
    if status == 402:
        return OutOfCredit(
            f"Replicate: no credit for backend {name!r}{said}", f"add credit at {_BILLING_URL}"
        )
    if status == 429:
        return RateLimited(
            f"Replicate asked backend {name!r} to slow down", "", read_retry_after_s(answer) or 0.0
        )
    if status == 404:
        return BackendRejected(
            f"Replicate knows no model {settings.model!r}, or not by this call",
            "a model that is not official is written owner/name:version",
        )
    if status == 422:
        return BackendRejected(f"Replicate refused the input of {settings.model}{said}")
    if 300 <= status < 400:
        return BackendRejected(
            f"{settings.base_url} redirects, which is not followed with a token",
            f"set base_url of backend {name!r} to where the API is",
        )
    return BackendRejected(f"Replicate answered {status} for backend {name!r}{said}")


def unreachable(settings: ReplicateSettings, *, name: str, reason: str) -> BackendUnavailable:
    """The error for a call that was not sent, or that changes nothing."""
    return BackendUnavailable(
        f"backend {name!r} not reachable at {settings.base_url}: {reason}",
        "nothing was sent; is this host online?",
    )


def _forbidden(settings: ReplicateSettings, *, name: str, said: str) -> ImagenError:
    if said:
        return BackendRejected(
            f"Replicate does not allow backend {name!r} to draw with {settings.model} (403){said}",
            f"may the account of {settings.api_token_env} use this model?",
        )
    # Replicate always gives a reason, so this answer is a firewall's or a proxy's.
    return BackendUnavailable(
        f"backend {name!r}: {settings.base_url} answered 403 without a reason",
        "does a firewall or a proxy stand before it?",
    )


def quote_detail(answer: ApiAnswer, private: tuple[str, ...]) -> str:
    """The reason in an error answer, by field where it names fields, in one bounded line."""
    return quote("; ".join(_details(answer.fields)), private)


def quote(text: str, private: tuple[str, ...]) -> str:
    """A text of Replicate's in one bounded line, with every private text taken out."""
    for secret in sorted(filter(None, private), key=len, reverse=True):
        text = text.replace(secret, "[…]")
    # Control characters disturb terminals, and PostgreSQL refuses NUL.
    printable = "".join(char if char.isprintable() else " " for char in text[:_MAX_READ_CHARS])
    text = " ".join(printable.split())
    return text if len(text) <= _MAX_DETAIL_CHARS else text[:_MAX_DETAIL_CHARS] + "…"


def _details(body: Mapping[str, Any]) -> Iterator[str]:
    fields = body.get("invalid_fields")
    named = [one for one in fields if isinstance(one, Mapping)] if isinstance(fields, list) else []
    for one in named:
        yield f"{one.get('field', 'input')}: {one.get('description') or one.get('type', '')}"
    if not named:
        yield str(body.get("detail") or body.get("title") or "")


def read_retry_after_s(answer: ApiAnswer) -> float | None:
    """The longest wait in seconds that a 429 names anywhere; None where it names none."""
    body = answer.fields
    named = _RESETS_IN.search(str(body.get("detail", "")))
    waits = [
        read_header_s(answer.headers),
        read_seconds(body.get("retry_after")),
        read_seconds(named[1]) if named else None,
        read_seconds(answer.headers.get("ratelimit-reset")),
    ]
    known = [wait for wait in waits if wait is not None]
    return min(max(known), _MAX_WAIT_S) if known else None
