"""Gets the one prediction of an attempt: resumed, found again, or created, but never twice.

Replicate takes no idempotency key, and a create call whose answer is lost may still have created
and billed. So before each create call its *intent* is committed, and after it the prediction's id
(which the ledger gives to one attempt only). An attempt with an intent and no id is *unsettled*.
It looks for its prediction in the provider's list, and may send again only once the list says no.

Orders can be equal (20 rows with one prompt and one seed; or rows that differ in nothing but a file
given as a data URL, which the list does not tell), and then nobody can tell whose a prediction is.
What is kept is the count: each prediction is owned by exactly one attempt, and no attempt sends
while a prediction that nobody owns could have come of a lost call of any of them.

The argument. A call is sent within a third of ``post_timeout_s`` of its intent (past that its body
is not handed out, so a process stopped for minutes sends nothing; only one stopped in the few
microseconds between the look at the clock and the system call would) and is over within the whole
of it. It shows what it created within ``settle_s`` of its end, or never. So an unsettled attempt x
waits until that is over: then it is *quiet*, and its prediction p(x), if there is one, is visible
to everyone. Then:

1. A quiet x takes the **oldest** match without an owner, from its intent on (less a margin for
   clocks), with no later bound. If another attempt takes it first, x looks again.
2. Follow x's chain: p(x), its owner y, p(y), its owner z … It ends with an attempt whose call
   created nothing (x is truly one short), or with a visible prediction e(x) that nobody owns.
   Claim: e(x) is never older than p(x), so x's walk covers it and x never sends in that case.
   It holds at the start, where e(x) = p(x). It can only change when some quiet v takes e(x). But
   v's own e(v) was without an owner too, and v took the oldest, so e(v) is not older; and x's
   chain now goes on through v and ends in e(v). (An owner by direct answer owns its own p.)
3. Listing and asking who owns what are two moments, and y may take p(x) between them while p(y) was
   not in x's list yet. So a no counts only when a second walk, begun after the owners were known,
   shows no match that the first had not; and for a yes the margin is larger than that moment.
4. An x that got a direct answer whose id has an owner already (that one was quiet, and took it
   before the answer was here) is as after a lost answer, but quiet at once: p(x) is known.
5. Only who holds the attempt's lease takes from the list. A worker that was stopped for longer than
   that might take one while its successor, to whom the list just said no, is sending.
6. But a direct answer counts without the lease. Where it comes while x's next holder looks, p(x)
   has an owner, x itself, and the list says no. So no intent is committed for an attempt that has
   an id its holder does not know. (After that commit no such answer gives x an id: p(x) was there
   to be taken when the list said no, so another attempt owns it.)
7. A resumed attempt counts from its intent, as nobody saw how its call ended: ``post_timeout_s``
   plus ``settle_s``. The intent's age is the ledger's word, the list's times are the provider's,
   whose clock is known from its answers; so no host's own clock decides anything.

Where the list cannot say no (unreadable, input erased after an hour), the outcome is unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick, pause
from imagen.backends.replicate.api.refusals import is_unclear, read_retry_after_s, refusal_of
from imagen.backends.replicate.purchase.find_lost import CreateCall, PredictionSearch, SearchResult
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.job import AttemptState
from imagen.domain.protocols import AlreadyOwned, AttemptIndex, Run
from imagen.errors import BackendUnavailable, JobCanceled, OutcomeUnknown, RateLimited
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

# Create calls in one go, each only after the list said that the one before created nothing.
_MAX_POSTS = 3
# For clocks: the provider tells its time in whole seconds, and an intent's age is a moment old.
_CLOCK_MARGIN_S = 60.0
# Inputs are erased one hour after the creation. Source: replicate.com/docs/topics/predictions/
# data-retention (read 2026-11). What is nearer to that than this is not relied on.
_ERASED_AFTER_S = 3600.0
_ERASED_MARGIN_S = 120.0
_LOCKS = 64
_FIRST_BACKOFF_S = 2.0
_LONGEST_BACKOFF_S = 60.0
# A backoff that fits ``patience_s`` is waited out here; this many times at the least.
_MIN_WAITS = 3


class PredictionCreator:
    """Creates predictions for one backend. Threads share it."""

    def __init__(
        self,
        client: Client,
        gate: RateGate,
        settings: ReplicateSettings,
        *,
        name: str,
        attempts: AttemptIndex,
        cancel_after_s: float,
    ) -> None:
        self._client = client
        self._gate = gate
        self._settings = settings
        self._name = name
        self._attempts = attempts
        self._cancel_after_s = cancel_after_s
        self._finder = PredictionSearch(client, gate, patience_s=settings.patience_s)
        # One look-up at a time per equal order; orders that share a lock by chance only wait.
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def obtain(self, order: CreateCall, run: Run, tick: Tick) -> Prediction:
        """The attempt's prediction, its id committed.

        Blocks for a call, or after a lost answer until the list can be trusted.

        Raises:
            BackendError, CredentialError, JobCanceled, LeaseLost
        """
        previous = run.previous
        if previous is not None and previous.state is AttemptState.INTENDED:
            # An age that is not told is taken as none, which waits the longest.
            intended_s = boottime_s() - (previous.intent_age_s or 0.0)
            quiet_s = intended_s + self._settings.post_timeout_s + self._settings.settle_s
            found = self._settle(order, run, tick, intended_s=intended_s, quiet_s=quiet_s)
            if found is not None:
                return found
        for _ in range(_MAX_POSTS):
            found = self._buy(order, run, tick)
            if found is not None:
                return found
        raise BackendUnavailable(
            f"Replicate lost {_MAX_POSTS} create calls of backend {self._name!r} in a row,"
            " and created nothing",
            "nothing was spent; try again later",
        )

    def _buy(self, order: CreateCall, run: Run, tick: Tick) -> Prediction | None:
        """The created prediction, or nothing: then certainly none exists without an owner."""
        answer, intended_s = self._create(order, run, tick)
        ended_s = boottime_s()
        created = read_prediction(answer.body) if answer and answer.is_success else None
        quiet_s = ended_s
        if created is not None:
            try:
                run.submitted(created.id, place=self._client.place)
            except AlreadyOwned:
                pass
            else:
                return created
        else:
            quiet_s = ended_s + self._settings.settle_s
        return self._settle(order, run, tick, intended_s=intended_s, quiet_s=quiet_s)

    def _create(self, order: CreateCall, run: Run, tick: Tick) -> tuple[ApiAnswer | None, float]:
        """The create call's answer, or nothing where it was lost, and when it was intended.

        Waits through 429s, and raises what certainly created nothing.
        """
        gives_up_s = boottime_s() + self._settings.patience_s
        timeout_s = self._settings.post_timeout_s
        waits = 0
        while True:
            self._gate.wait("create", tick)
            tick()
            # Before the commit: a process that is stopped inside it wakes up too late to send.
            intended_s = boottime_s()
            run.intend(timeout_s=timeout_s)
            try:
                answer = self._client.post(
                    order.path,
                    order.body,
                    timeout_s=intended_s + timeout_s - boottime_s(),
                    send_by_s=intended_s + timeout_s / 3,
                    headers={"Cancel-After": f"{self._cancel_after_s:.0f}s"},
                )
            except Unanswered as exc:
                if exc.was_sent:
                    return None, intended_s
                raise self._unreachable(exc) from None
            if is_unclear(answer):
                return answer, intended_s
            if answer.status != 429:
                raise refusal_of(answer, self._settings, name=self._name, private=order.private)
            backoff_s = min(_FIRST_BACKOFF_S * 2**waits, _LONGEST_BACKOFF_S)
            wait_s = read_retry_after_s(answer) or backoff_s
            waits += 1
            self._gate.hold_creates(wait_s)
            if waits > _MIN_WAITS and boottime_s() + wait_s > gives_up_s:
                raise _slowed_down(self._name, wait_s)
            if wait_s > self._settings.patience_s:
                raise _slowed_down(self._name, wait_s)
            pause(wait_s, tick)

    def _unreachable(self, exc: Unanswered) -> BackendUnavailable:
        return BackendUnavailable(
            f"backend {self._name!r} not reachable at {self._settings.base_url}: {exc.reason}",
            "nothing was sent; is this host online?",
        )

    def _settle(
        self, order: CreateCall, run: Run, tick: Tick, *, intended_s: float, quiet_s: float
    ) -> Prediction | None:
        """The prediction that an unsettled attempt takes, or nothing: then it may send again.

        A cancel does not cut the wait short: taken before it is quiet, a prediction might be
        another attempt's, which would then send once too often.
        """
        canceled: JobCanceled | None = None

        def quiet_tick() -> None:
            nonlocal canceled
            try:
                tick()
            except JobCanceled as exc:
                canceled = exc

        try:
            pause(quiet_s - boottime_s(), quiet_tick)
            with self._only_one(order, quiet_tick):
                found = self._adopt(order, run, quiet_tick, intended_s=intended_s)
        except OutcomeUnknown:
            if canceled is None:
                raise
            found = None
        if canceled is not None and found is None:
            raise canceled
        # The watcher cancels a prediction that is found here, at its first tick.
        return found

    @contextmanager
    def _only_one(self, order: CreateCall, tick: Tick) -> Iterator[None]:
        lock = self._locks[int(order.key[:8], 16) % _LOCKS]
        while not lock.acquire(timeout=1.0):
            tick()
        try:
            yield
        finally:
            lock.release()

    def _adopt(
        self, order: CreateCall, run: Run, tick: Tick, *, intended_s: float
    ) -> Prediction | None:
        self._finder.sync_clock(tick)
        intended_at = self._client.server_now() - timedelta(seconds=boottime_s() - intended_s)
        since = intended_at - timedelta(seconds=_CLOCK_MARGIN_S + self._settings.settle_s)
        # What came of this very call lies close to its intent, and is worth a short walk first:
        # the oldest match there is the oldest of all.
        near = intended_at + timedelta(
            seconds=self._settings.post_timeout_s + self._settings.settle_s + _CLOCK_MARGIN_S
        )
        listing = self._finder.find(order, since=since, until=near, tick=tick)
        found = self._take_oldest(listing, run)
        seen: set[str] = set()
        while found is None:
            self._require_memory(intended_s)
            listing = self._finder.find(order, since=since, until=None, tick=tick)
            found = self._take_oldest(listing, run)
            shown = {match.id for match in listing.matches}
            if found is None and shown <= seen:
                self._require_memory(intended_s)
                self._require_nothing_erased(listing, since)
                return None
            seen |= shown
        return found

    def _take_oldest(self, listing: SearchResult, run: Run) -> Prediction | None:
        place = self._client.place
        owned = self._attempts.owned(place, tuple(match.id for match in listing.matches))
        for match in listing.matches:
            if match.id in owned:
                continue
            try:
                run.adopted(match.id, place=place)
            except AlreadyOwned:
                continue
            return match
        return None

    def _require_memory(self, intended_s: float) -> None:
        if boottime_s() - intended_s > _ERASED_AFTER_S - _ERASED_MARGIN_S:
            raise OutcomeUnknown(
                f"an answer of Replicate to backend {self._name!r} was lost too long ago:"
                " it erases inputs after an hour",
                "look at https://replicate.com/predictions before: imagen jobs retry",
            )

    def _require_nothing_erased(self, listing: SearchResult, since: datetime) -> None:
        erased = listing.erased
        if not erased or set(erased) <= self._attempts.owned(self._client.place, erased):
            return
        raise OutcomeUnknown(
            f"Replicate lists a prediction of {self._settings.model} made after"
            f" {since:%Y-%m-%d %H:%M} UTC whose input is erased, so it may be the lost one:"
            f" {erased[0]}",
            "look at https://replicate.com/predictions before: imagen jobs retry",
        )


def _slowed_down(name: str, wait_s: float) -> RateLimited:
    return RateLimited(
        f"Replicate asked backend {name!r} to slow down", f"wait {wait_s:.0f} s", wait_s
    )
