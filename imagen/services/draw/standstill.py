"""Why a run stands still: paused backends, and backends that this process cannot reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from imagen.domain.scope import Scope
from imagen.errors import BackendUnavailable, CredentialError, OutOfCredit
from imagen.ledger.jobs.pauses import paused_backends, pauses_with_codes
from imagen.ledger.queries.unfinished_jobs import blocked_backend, queued_backends
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.job_listener import JobListener


@dataclass
class StandstillNews:
    """Why backends draw nothing now, each reason once, and again when it has come back.

    ``read`` gives the reasons by backend.
    """

    ledger: Ledger
    read: Callable[[], Mapping[str, str]]
    _said: dict[str, str] = field(default_factory=dict)

    def since_last(self, scope: Scope) -> dict[str, str]:
        """The reasons by backend that jobs of ``scope`` wait for since just now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        reasons = self.read()
        if not reasons:
            self._said = {}
            return {}
        waiting = queued_backends(self.ledger, scope, reasons)
        met = {name: reason for name, reason in reasons.items() if name in waiting}
        news = {name: reason for name, reason in met.items() if self._said.get(name) != reason}
        self._said = {name: why for name, why in self._said.items() if name in reasons} | met
        return news


class StandstillReporter:
    """Tells a listener which backends the jobs of a run wait for, and why."""

    def __init__(
        self,
        ledger: Ledger,
        listener: JobListener | None,
        unreachable: Callable[[], Mapping[str, str]],
    ) -> None:
        """``unreachable`` gives the backends that cannot be reached now, each with the reason."""
        self._news: list[tuple[StandstillNews, Callable[[str, str], None]]] = []
        if listener is not None:
            pauses = StandstillNews(ledger, lambda: paused_backends(ledger))
            outages = StandstillNews(ledger, unreachable)
            self._news = [(pauses, listener.on_pause), (outages, listener.on_unreachable)]

    def report(self, scope: Scope) -> None:
        """Tell what is new since the last report.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        for news, tell in self._news:
            for backend, reason in news.since_last(scope).items():
                tell(backend, reason)


def require_usable_account(ledger: Ledger, scope: Scope) -> None:
    """Returns while any unfinished job of ``scope`` may still be drawn.

    Raises:
        OutOfCredit, CredentialError: the backend of each of them is paused for that reason.
        LedgerUnavailable: the ledger is away.
    """
    pauses = {
        name: each
        for name, each in pauses_with_codes(ledger).items()
        if each[0] in (OutOfCredit.code, CredentialError.code)
    }
    backend = blocked_backend(ledger, scope, pauses) if pauses else None
    if backend is None:
        return
    code, reason = pauses[backend]
    message = f"backend {backend!r} is paused: {reason}"
    how = f"imagen backends resume {backend}"
    if code == OutOfCredit.code:
        raise OutOfCredit(message, f"the jobs wait; to go on at once: {how}")
    raise CredentialError(message, f"the jobs wait; when the token is mended: {how}")


def require_reachable_backend(
    ledger: Ledger, scope: Scope, circuits: Circuits, *, patience_s: float
) -> None:
    """Returns while any unfinished job of ``scope`` may still be drawn by this process.

    Raises:
        BackendUnavailable: each of them waits for a backend that has refused every drawing for
            ``patience_s`` seconds; the jobs are kept.
        LedgerUnavailable: the ledger is away.
    """
    gone = {
        each.backend: each
        for each in circuits.all_open()
        if circuits.away_for_s(each.backend) >= patience_s
    }
    name = blocked_backend(ledger, scope, gone) if gone else None
    if name is None:
        return
    raise BackendUnavailable(
        f"backend {name!r} could not be used for {patience_s:g} s: {gone[name].why}",
        "the jobs wait; a longer patience: workers.unavailable_patience_s",
    )
