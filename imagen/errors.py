"""Every deliberate error of imagen, as one tree, so that callers can ask "may I try again?".

ImagenError
|-- ConfigError              the file or the variable is wrong; fix it               exit 3
|-- RequestError             the request is wrong; change it                         exit 2
|   `-- SecretOption         an option would hold a secret; configure it instead     exit 2
|-- CredentialError          401/403; names the variable, never its value            exit 3
|-- LedgerError              the database cannot be used as it is                    exit 5
|   |-- LedgerUnavailable    unreachable, locked, unreadable or not writable         exit 5
|   |   `-- LedgerClosed     closed by this process, which is ending; do not retry   exit 5
|   |-- LedgerOutdated       its schema is behind or ahead of this program           exit 3
|   `-- LedgerMismatch       a message or a setting names another ledger             exit 3
|-- BrokerUnavailable        Redis cannot be reached                                 exit 5
|-- BackendError             a backend refused, or did not answer
|   |-- BackendUnavailable   certainly did not start; safe to try again              exit 5
|   |   |-- RateLimited      the same, with the time to wait                         exit 5
|   |   `-- BackendStuck     the server answers but does not draw; pause it          exit 5
|   |-- OutcomeUnknown       it may have started; look it up, never resubmit blindly exit 5
|   |-- BackendRejected      would fail again                                        exit 1
|   |   `-- OutputRefused    drawn and paid for, but its output cannot be used       exit 1
|   |-- ContentRejected      refused by moderation                                   exit 8
|   |-- OutOfCredit          402; the backend is paused                              exit 7
|   |-- JobTimeout           ran past its deadline; canceled at the backend          exit 1
|   `-- ArtifactLost         it was drawn, and the image is gone                     exit 1
|-- DeliveryError            the image exists but could not be put where it belongs  exit 1
|   `-- DiskFull             no space there; tried again later                       exit 1
|-- CloudError               Supabase refused, or did not answer                     exit 5
|-- WorkerCrashed            the worker died too often while this job ran            exit 1
|-- JobCanceled              a user canceled the job                                 exit 1
|-- LeaseLost                this worker lost the job and may not write for it       exit 1
`-- GaveUpWaiting            the wait ended before the job did                       exit 6

Errors cross process borders, so each takes positional arguments only and equals ``cls(*args)``.
A message says what failed, with which name or value, and what to do next, without secrets or
prompts: it is shown in Flower, in logs and in the ledger.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar


class ImagenError(Exception):
    """The root of every deliberate error.

    ``hint`` is the second positional argument: what to type next, or "".
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    #: The queue may run the same attempt again. Set by the class; for CloudError, by the instance.
    retryable: bool = False
    #: Money may have been spent on the attempt that raised this.
    spent: ClassVar[bool] = False

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The error as it stands in every JSON answer."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(ImagenError):
    code = "config"
    exit_code = 3


class RequestError(ImagenError):
    code = "request"
    exit_code = 2


class SecretOption(RequestError):
    """``options`` are the names of the options that hold one; their values must not be stored."""

    code = "secret_option"

    def __init__(self, message: str = "", hint: str = "", options: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, options)
        self.options = options


def unreadable_stdin(error: OSError) -> RequestError:
    """The error for a standard input that is closed, or no file that can be read."""
    reason = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
    return RequestError(
        f"standard input cannot be read: {reason}", "give the text itself, or a file, instead of -"
    )


class CredentialError(ImagenError):
    code = "credential"
    exit_code = 3


class LedgerError(ImagenError):
    code = "ledger"
    exit_code = 5


class LedgerUnavailable(LedgerError):
    code = "ledger_unavailable"


class LedgerClosed(LedgerUnavailable):
    code = "ledger_closed"


class LedgerOutdated(LedgerError):
    code = "ledger_outdated"
    exit_code = 3


class LedgerMismatch(LedgerError):
    code = "ledger_mismatch"
    exit_code = 3


class BrokerUnavailable(ImagenError):
    code = "broker_unavailable"
    exit_code = 5


class BackendError(ImagenError):
    code = "backend"


class BackendUnavailable(BackendError):
    code = "backend_unavailable"
    exit_code = 5
    retryable = True


class RateLimited(BackendUnavailable):
    """The backend asked us to wait; the job was not started."""

    code = "rate_limited"

    def __init__(self, message: str = "", hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, retry_after_s)
        self.retry_after_s = retry_after_s


class BackendStuck(BackendUnavailable):
    """The server answers but does not draw.

    ``pause_s`` is the shortest pause, because ``check`` cannot see the fault; 0 where it can.
    What was begun there is given up.
    """

    code = "backend_stuck"

    def __init__(self, message: str = "", hint: str = "", pause_s: float = 30.0) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, pause_s)
        self.pause_s = pause_s


class OutcomeUnknown(BackendError):
    """A paid call may have been made.

    ``look_again_s`` is after how many seconds a look-up may tell; 0 means that none can.
    """

    code = "outcome_unknown"
    exit_code = 5
    spent = True

    def __init__(self, message: str = "", hint: str = "", look_again_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, look_again_s)
        self.look_again_s = look_again_s


class BackendRejected(BackendError):
    code = "backend_rejected"


class OutputRefused(BackendRejected):
    """It was drawn, and may be billed, but its output cannot be used.

    ``imagen jobs retry`` fetches the same output again, free of charge.
    """

    code = "output_refused"
    spent = True


class ContentRejected(BackendError):
    code = "content_rejected"
    exit_code = 8


class OutOfCredit(BackendError):
    code = "out_of_credit"
    exit_code = 7


class JobTimeout(BackendError):
    code = "timeout"
    spent = True


class ArtifactLost(BackendError):
    code = "artifact_lost"
    spent = True


class DeliveryError(ImagenError):
    code = "delivery"


class DiskFull(DeliveryError):
    code = "disk_full"


class CloudError(ImagenError):
    """Supabase refused, or did not answer. The outbox keeps the item and sends it again.

    ``retryable``: the same call may succeed later without any change.
    ``only_this``: this one object or row is refused; others may pass. Otherwise the next one
    would fail the same way.
    """

    code = "cloud"
    exit_code = 5

    def __init__(
        self,
        message: str = "",
        hint: str = "",
        retryable: bool = False,
        only_this: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, retryable, only_this)
        self.retryable = retryable
        self.only_this = only_this


class WorkerCrashed(ImagenError):
    code = "worker_crashed"


class JobCanceled(ImagenError):
    code = "canceled"


class LeaseLost(ImagenError):
    code = "lease_lost"


class GaveUpWaiting(ImagenError):
    code = "gave_up_waiting"
    exit_code = 6


def all_error_types() -> dict[str, type[ImagenError]]:
    """Every error class by its code."""
    found: dict[str, type[ImagenError]] = {}
    pending: list[type[ImagenError]] = [ImagenError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found


def error_type(code: str | None) -> type[ImagenError]:
    """The class of a failed job's error, by the code in its row; ImagenError for any other."""
    return all_error_types().get(code or "", ImagenError)
