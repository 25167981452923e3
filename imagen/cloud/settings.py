"""The address of the Supabase project and its key, read from the environment and checked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from imagen.errors import ConfigError, CredentialError
from imagen.http.loopback import is_loopback_url

URL_VARIABLE = "SUPABASE_URL"
#: The first that is set is used.
KEY_VARIABLES = ("SUPABASE_SERVICE_KEY", "MAI_SUPABASE_KEY")

# No space and no line break: requests quotes a bad header's value in its error.
_KEY = re.compile(r"[\x21-\x7e]+", re.ASCII)
_API_PATH = re.compile(r"/(rest|storage|auth)/v1$")
_HOSTED = re.compile(r"([a-z0-9]+)\.supabase\.(co|in|red)")
_KEYS_HINT = "copy the secret key (sb_secret_…) from the project's settings, API Keys"
# Names for which no public certificate is issued.
_PRIVATE_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home.arpa")


@dataclass(frozen=True, slots=True)
class SupabaseSettings:
    """One project. The key is in no repr, message or log; ``key_variable`` names its variable.

    ``url`` is the project's, without a path and without a slash at its end.
    """

    url: str
    key: str = field(repr=False)
    key_variable: str = KEY_VARIABLES[0]

    @property
    def key_is_jwt(self) -> bool:
        """A legacy service_role key, which is a JWT and goes into Authorization as well."""
        return self.key.startswith("eyJ")

    @property
    def is_local(self) -> bool:
        """The project runs on this machine: its requests use no proxy."""
        return is_loopback_url(self.url)


def names_project(env: Mapping[str, str]) -> bool:
    """Whether any of the variables is set, so that a project is to be used."""
    return len(missing_variables(env)) < len((URL_VARIABLE, KEY_VARIABLES[0]))


def missing_variables(env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that are still to be set."""
    missing = () if env.get(URL_VARIABLE, "").strip() else (URL_VARIABLE,)
    return missing if _key_variable(env) else (*missing, KEY_VARIABLES[0])


def project_ref(env: Mapping[str, str]) -> str | None:
    """The reference of the hosted project that SUPABASE_URL names; None for any other address.

    The address of the project's database contains it, too.
    """
    try:
        url = _checked_url(env.get(URL_VARIABLE, "").strip())
    except ConfigError:
        return None
    match = _HOSTED.fullmatch(urlsplit(url).hostname or "")
    return match[1] if match else None


def read_settings(env: Mapping[str, str]) -> SupabaseSettings | None:
    """The project that the environment names, or None where a variable is missing.

    Raises:
        ConfigError: SUPABASE_URL is not a project's address.
        CredentialError: the key does not look like a service key; no server is asked.
    """
    if missing_variables(env):
        return None
    variable = _key_variable(env)
    return SupabaseSettings(
        url=_checked_url(env[URL_VARIABLE].strip()),
        key=_checked_key(env[variable].strip(), variable),
        key_variable=variable,
    )


def _key_variable(env: Mapping[str, str]) -> str:
    return next((name for name in KEY_VARIABLES if env.get(name, "").strip()), "")


def _checked_url(url: str) -> str:
    # Pasted values often end with the API's path or a slash.
    url = _API_PATH.sub("", url.rstrip("/"))
    hint = "for example: SUPABASE_URL=https://YOUR-PROJECT.supabase.co"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{URL_VARIABLE} is not a web address", hint) from None
    # The message does not quote the address: it may be a database's, with its password.
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{URL_VARIABLE} does not start with https:// and a host name", hint)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{URL_VARIABLE} has more than a host name in it", hint)
    if host in ("supabase.com", "www.supabase.com", "app.supabase.com"):
        raise ConfigError(f"{URL_VARIABLE} is the dashboard's address, not the project's", hint)
    if parts.path:
        raise ConfigError(f"{URL_VARIABLE} has a path; it is the project's bare address", hint)
    if parts.scheme == "http" and not _is_private(host):
        raise ConfigError(f"{URL_VARIABLE} must start with https:// so that the key stays secret")
    return url


def _checked_key(key: str, variable: str) -> str:
    if not _KEY.fullmatch(key):
        raise CredentialError(
            f"{variable} holds characters that no key has", f"set {variable} again, on one line"
        )
    if key.startswith("sb_publishable_"):
        raise CredentialError(f"{variable} is a publishable key, which may not write", _KEYS_HINT)
    role = _role_of(key) if key.startswith("eyJ") else ""
    if role == "anon":
        raise CredentialError(f"{variable} is the anon key, which may not write", _KEYS_HINT)
    if role == "authenticated":
        raise CredentialError(f"{variable} is a user's token, which may not write", _KEYS_HINT)
    return key


def _role_of(jwt: str) -> str:
    """The role that a JWT claims, "" where it cannot be read; the server checks the token."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims.get("role", ""))
    except (IndexError, ValueError, AttributeError):
        return ""


def _is_private(host: str) -> bool:
    """Whether a host is this machine or on the local network, by its name or number alone."""
    if "." not in host and ":" not in host:
        return True
    try:
        return ip_address(host).is_private
    except ValueError:
        return host.endswith(_PRIVATE_ENDINGS)
