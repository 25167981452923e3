"""HTTP sessions that threads may share: no cookies, retries, redirects or credentials."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy

import requests

from imagen import __version__
from imagen.http.deadline import DeadlineAdapter


class _PlainSession(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """None: requests would read a redirect's body whole, whatever its size."""
        return None


def new_session(*, uses_proxies: bool, hosts: int, connections: int) -> requests.Session:
    """A session that keeps connections to ``hosts`` hosts, at most ``connections`` to each.

    ``uses_proxies``: requests go through the proxies of the environment; never to loopback.
    """
    session = _PlainSession()
    session.trust_env = uses_proxies
    session.auth = leave_as_is
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Supabase refuses secret keys where the User-Agent looks like a browser's.
    session.headers["User-Agent"] = f"imagen/{__version__}"
    adapter = DeadlineAdapter(pool_connections=hosts, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def leave_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Adds no credentials. As a session's ``auth`` it keeps those of ``~/.netrc`` out."""
    return request
