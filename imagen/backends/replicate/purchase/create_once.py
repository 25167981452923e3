"""Gives an attempt its one prediction: found in Replicate's list or created, but never both.

Replicate takes no idempotency key, and a create call whose answer is lost may still have created
and billed a prediction. So the ledger records two facts of an attempt: its *intent*, committed
before each create call, and the *id* of its prediction, committed after the call. The ledger
gives an id to one attempt only, its *owner*. An attempt with an intent and without an id is
*open*: its call may have created a prediction that has no owner. An open attempt searches
Replicate's list of predictions, and sends another call only if the list shows that no prediction
is left for it.

Calls can be equal: 20 rows with one prompt and one seed, or rows that differ only in a file given
as a data URL, which the list does not show. Then the list cannot tell which call created which
prediction. So the guarantee is about their number: each prediction is owned by exactly one
attempt, and no attempt sends a call while there is a prediction without an owner that a lost call
of this attempt or of an equal one may have created.

The argument. x, y, z and v are attempts with equal calls; p(x) is the prediction that x's call
created, if it created one. A call is sent within a third of ``post_timeout_s`` after its intent:
later the body is not handed out any more, so a process that was suspended for minutes sends
nothing. (Only one that was suspended in the few microseconds between the look at the clock and
the system call would.) A call is over ``post_timeout_s`` after its intent at the latest. It is
assumed that a prediction is in the list within ``settle_s`` after the call that created it is
over. An open attempt x waits for that moment. From then on the list is *final* for x: if p(x)
exists, every worker sees it. Then:

1. Once the list is final for x, x takes the **oldest** matching prediction that has no owner and
   was created after x's intent (less a margin for clocks that differ), with no later bound. If
   another attempt takes that prediction first, x searches again.
2. Follow the chain of x: p(x), its owner y, p(y), its owner z, and so on. The chain ends in one of
   two ways. Either it ends with an attempt whose call created nothing: then one prediction is
   really missing, and x must send a call. Or it ends with a visible prediction e(x) that has no
   owner. Claim: e(x) is never older than p(x), so x's search covers e(x), and x sends nothing. At
   the start the claim holds, as e(x) is p(x). The end of the chain changes only when some attempt
   v, for which the list is final, takes e(x). At that moment v's own e(v) had no owner either, and
   v took the oldest, so e(v) is not older than e(x); and x's chain now goes on through v and ends
   with e(v). (An attempt that got its id by a direct answer owns its own p.)
3. Listing predictions and asking the ledger for their owners are two moments. Between them y may
   take p(x) although p(y) was not in x's list yet. So the list shows that nothing is left only if
   a second walk, begun after the owners were known, shows no match that the first walk had not
   shown. For a prediction that x takes, the margin of step 1 is longer than the time between the
   two moments.
4. If x gets a direct answer with an id that has an owner already (an attempt for which the list
   was final took that prediction before the answer arrived), x continues as after a lost answer,
   except that the list is final at once, because p(x) is known to be there.
5. Only the holder of the attempt's lease takes a prediction from the list. Otherwise a worker that
   was suspended for longer than its lease might take one while its successor, to which the list
   has just shown that nothing is left, is sending a call.
6. A direct answer, however, is recorded even without the lease. If it arrives while x's next
   holder searches, then p(x) has an owner, x itself, and the list shows that nothing is left. So
   no intent is committed for an attempt that has an id which its holder does not know. (After that
   commit no such answer can give x an id: p(x) could have been taken when the list showed that
   nothing is left, so another attempt owns it.)
7. For an attempt that another worker resumes, the end of the call was not observed. The time is
   counted from the intent: the list is final ``post_timeout_s`` plus ``settle_s`` later. The age
   of the intent comes from the ledger and the times of the list come from Replicate, whose clock
   is known from its answers. So no host's own clock decides anything.

Where the search is not possible (the list or the inputs of the model cannot be read, or the inputs
of predictions are erased after an hour), the outcome is unknown and no call is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick, pause
from imagen.backends.replicate.api.refusals import (
    is_unclear,
    read_retry_after_s,
    refusal_of,
    unreachable,
)
from imagen.backends.replicate.purchase.find_lost import LostPredictionFinder
from imagen.backends.replicate.purchase.list_search import CreateCall
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.job import AttemptState
from imagen.domain.protocols import AlreadyOwned, Run
from imagen.errors import BackendUnavailable, RateLimited
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

# Create calls in a row, each sent only after the list showed that the last one created nothing.
_MAX_POSTS = 3
# The wait after a 429 that names none, doubled each time.
_FIRST_BACKOFF_S = 2.0
_LONGEST_BACKOFF_S = 60.0
# This many 429s are waited out even where their waits add up to more than ``patience_s``.
_MIN_WAITS = 3


@dataclass(frozen=True)
class PredictionCreator:
    """Finds or creates the predictions of one backend. Threads share it.

    ``cancel_after_s`` is the age at which Replicate cancels a prediction by itself.
    """

    client: Client
    gate: RateGate
    finder: LostPredictionFinder
    settings: ReplicateSettings
    name: str
    cancel_after_s: float

    def find_or_create(self, call: CreateCall, run: Run, tick: Tick) -> Prediction:
        """The attempt's prediction, its id committed.

        Blocks for one call, or after a lost answer until the list is final.

        Raises:
            BackendError, CredentialError, JobCanceled, LeaseLost
        """
        previous = run.previous
        if previous is not None and previous.state is AttemptState.INTENDED:
            # An unknown age counts as 0, which waits the longest.
            intended_s = boottime_s() - (previous.intent_age_s or 0.0)
            final_s = intended_s + self.settings.post_timeout_s + self.settings.settle_s
            found = self.finder.find(call, run, tick, intended_s=intended_s, final_s=final_s)
            if found is not None:
                return found
        for _ in range(_MAX_POSTS):
            created = self._create(call, run, tick)
            if created is not None:
                return created
        raise BackendUnavailable(
            f"Replicate lost {_MAX_POSTS} create calls of backend {self.name!r} in a row,"
            " and created nothing",
            "nothing was spent; try again later",
        )

    def _create(self, call: CreateCall, run: Run, tick: Tick) -> Prediction | None:
        """The prediction of one create call; None where it is certain that none is left."""
        answer, intended_s = self._send(call, run, tick)
        final_s = boottime_s()
        created = read_prediction(answer.body) if answer and answer.is_success else None
        if created is None:
            final_s += self.settings.settle_s
        else:
            try:
                run.submitted(created.id, place=self.client.server)
            except AlreadyOwned:
                pass
            else:
                return created
        return self.finder.find(call, run, tick, intended_s=intended_s, final_s=final_s)

    def _send(self, call: CreateCall, run: Run, tick: Tick) -> tuple[ApiAnswer | None, float]:
        """The answer to a create call, None where it was lost, and the time of its intent.

        Waits after a 429, and raises where it is certain that the call created nothing.
        """
        body = call.make_body()
        patience_s, timeout_s = self.settings.patience_s, self.settings.post_timeout_s
        gives_up_s = boottime_s() + patience_s
        waits = 0
        while True:
            self.gate.wait("create", tick)
            tick()
            # Before the commit: a process that is suspended in it resumes too late to send.
            intended_s = boottime_s()
            run.intend(timeout_s=timeout_s)
            try:
                answer = self.client.post(
                    call.path,
                    body,
                    timeout_s=intended_s + timeout_s - boottime_s(),
                    send_by_s=intended_s + timeout_s / 3,
                    headers={"Cancel-After": f"{self.cancel_after_s:.0f}s"},
                )
            except Unanswered as exc:
                if exc.was_sent:
                    return None, intended_s
                raise unreachable(self.settings, name=self.name, reason=exc.reason) from None
            if is_unclear(answer):
                return answer, intended_s
            if answer.status != 429:
                raise refusal_of(answer, self.settings, name=self.name, private=call.private)
            backoff_s = min(_FIRST_BACKOFF_S * 2**waits, _LONGEST_BACKOFF_S)
            wait_s = read_retry_after_s(answer) or backoff_s
            waits += 1
            self.gate.hold_creates(wait_s)
            is_over = waits > _MIN_WAITS and boottime_s() + wait_s > gives_up_s
            if is_over or wait_s > patience_s:
                raise RateLimited(
                    f"Replicate asked backend {self.name!r} to slow down",
                    f"wait {wait_s:.0f} s",
                    wait_s,
                )
            pause(wait_s, tick)
