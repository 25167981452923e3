"""Who a request to the fake Supabase comes from, told by its keys."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tests.fakes.supabase.exchange import Reply, Request, json_reply

SERVICE = "service_role"
ANON = "anon"


class Bad(Enum):
    """What may be wrong with a token."""

    MISSING = "missing"
    GARBAGE = "Invalid Compact JWS"
    SIGNATURE = "signature verification failed"
    EXPIRED = '"exp" claim timestamp check failed'


def make_jwt(role: str, *, signature: str = "unsigned") -> str:
    """A token of a JWT's shape that claims a role. It is not signed."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, {"role": role})]
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, signature])


@dataclass
class Keyring:
    """The keys of a project, by role.

    ``checks_keys``: the gateway itself refuses unknown keys, as the hosted one does.
    ``swaps_keys``: it knows the new secret keys, and gives the services a token for them.
    """

    roles: dict[str, str]
    expired: set[str] = field(default_factory=set)
    checks_keys: bool = False
    swaps_keys: bool = True

    def stop_at_gateway(self, request: Request) -> Reply | None:
        """What the gateway answers by itself; None when it lets the request pass."""
        key = request.headers.get("apikey", "")
        is_browser = request.headers.get("user-agent", "").startswith("Mozilla")
        if key.startswith("sb_secret_") and is_browser:
            return json_reply(401, {"message": "Forbidden use of secret API key in browser"})
        if not self.checks_keys or key in self.roles:
            return None
        if not key:
            hint = "No `apikey` request header or url param was found."
            return json_reply(401, {"message": "No API key found in request", "hint": hint})
        hint = "Double check your Supabase `anon` or `service_role` API key."
        return json_reply(401, {"message": "Invalid API key", "hint": hint})

    def role_of(self, headers: Mapping[str, str]) -> str | Bad:
        """The role, or what is wrong with the token."""
        key = headers.get("apikey", "")
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if not token and key.startswith("sb_") and self.swaps_keys:
            return self.roles.get(key, Bad.GARBAGE)
        if not token:
            return Bad.MISSING
        if token in self.expired:
            return Bad.EXPIRED
        # The new keys are no JWTs: nothing reads them as a bearer.
        if not token.startswith("eyJ"):
            return Bad.GARBAGE
        return self.roles.get(token, Bad.SIGNATURE)
