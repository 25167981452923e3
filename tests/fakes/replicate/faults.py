"""What can go wrong at the fake Replicate, on demand or by chance."""

from __future__ import annotations

from enum import Enum


class Moment(Enum):
    """Where a fault strikes."""

    CREATE = "create"
    OUTCOME = "outcome"
    POLL = "poll"
    CANCEL = "cancel"
    LIST = "list"
    DOWNLOAD = "download"
    MODEL = "model"


class ReplicateFault(Enum):
    """One thing that goes wrong once; the moment and a name."""

    # The create call: cut off, answered wrongly, or refused.
    LOST_BEFORE_CREATION = (Moment.CREATE, "lost_before_creation")
    LOST_AFTER_CREATION = (Moment.CREATE, "lost_after_creation")
    #: The connection is cut at once, and the prediction appears ``late_s`` afterwards.
    CREATED_AFTER_CUT = (Moment.CREATE, "created_after_cut")
    #: Created, but the answer takes ``hang_s``.
    HANG_AFTER_CREATION = (Moment.CREATE, "hang_after_creation")
    TORN_ANSWER = (Moment.CREATE, "torn_answer")
    #: Created, and answered with what no reader takes: 200,000 levels, Infinity, an id with a NUL.
    NESTED_ANSWER = (Moment.CREATE, "nested_answer")
    INFINITE_ANSWER = (Moment.CREATE, "infinite_answer")
    UNREADABLE_ID = (Moment.CREATE, "answer_with_unreadable_id")
    ERROR_BEFORE_CREATION = (Moment.CREATE, "error_before_creation")
    ERROR_AFTER_CREATION = (Moment.CREATE, "error_after_creation")
    #: 429 with ``retry_after`` in the body; ``retry_after_s`` says how long.
    THROTTLED = (Moment.CREATE, "throttled")
    THROTTLED_BY_HEADER = (Moment.CREATE, "throttled_by_header")
    THROTTLED_BY_TEXT = (Moment.CREATE, "throttled_by_text")
    THROTTLED_SILENTLY = (Moment.CREATE, "throttled_silently")
    UNAUTHENTICATED = (Moment.CREATE, "unauthenticated")
    NO_CREDIT = (Moment.CREATE, "no_credit")
    #: 403 with a reason that is not the token, and one as a firewall answers it.
    FORBIDDEN = (Moment.CREATE, "forbidden")
    FORBIDDEN_BY_FIREWALL = (Moment.CREATE, "forbidden_by_firewall")
    NOT_FOUND = (Moment.CREATE, "not_found")
    INVALID_INPUT = (Moment.CREATE, "invalid_input")
    # The prediction: created properly, but it ends otherwise.
    MODERATED = (Moment.OUTCOME, "moderated")
    NSFW = (Moment.OUTCOME, "nsfw")
    INTERRUPTED = (Moment.OUTCOME, "interrupted")
    BROKEN = (Moment.OUTCOME, "broken")
    SILENT_FAILURE = (Moment.OUTCOME, "silent_failure")
    ABORTED = (Moment.OUTCOME, "aborted")
    CANCELED_BY_OTHERS = (Moment.OUTCOME, "canceled_by_others")
    #: In between, the status is one that no document names.
    STRANGE_STATUS = (Moment.OUTCOME, "strange_status")
    NEVER_STARTS = (Moment.OUTCOME, "never_starts")
    NEVER_ENDS = (Moment.OUTCOME, "never_ends")
    NO_FILES = (Moment.OUTCOME, "no_files")
    BARE_STRING = (Moment.OUTCOME, "bare_string")
    DATA_URL = (Moment.OUTCOME, "data_url")
    DAMAGED_DATA_URL = (Moment.OUTCOME, "damaged_data_url")
    TEXT_OUTPUT = (Moment.OUTCOME, "text_output")
    OBJECT_OUTPUT = (Moment.OUTCOME, "object_output")
    #: The numbers it tells of itself are beyond all measure.
    ENDLESS_METRICS = (Moment.OUTCOME, "endless_metrics")
    OUTPUT_ELSEWHERE = (Moment.OUTCOME, "output_elsewhere")
    ERASED = (Moment.OUTCOME, "erased")
    #: The list shows it only ``late_s`` after its creation.
    LATE_IN_LIST = (Moment.OUTCOME, "late_in_list")
    # Reading.
    POLL_ERROR = (Moment.POLL, "poll_error")
    POLL_LOST = (Moment.POLL, "poll_lost")
    POLL_THROTTLED = (Moment.POLL, "poll_throttled")
    #: 404, as happens right after a creation.
    POLL_UNKNOWN = (Moment.POLL, "poll_unknown")
    #: A whole answer, some bytes a second.
    POLL_TRICKLES = (Moment.POLL, "poll_trickles")
    POLL_NESTED = (Moment.POLL, "poll_nested")
    #: A cancel that stops nothing: refused, cut off, or answered as if it had.
    CANCEL_ERROR = (Moment.CANCEL, "cancel_error")
    CANCEL_LOST = (Moment.CANCEL, "cancel_lost")
    CANCEL_IGNORED = (Moment.CANCEL, "cancel_ignored")
    LIST_ERROR = (Moment.LIST, "list_error")
    LIST_LOST = (Moment.LIST, "list_lost")
    LIST_NESTED = (Moment.LIST, "list_nested")
    LIST_WITH_BROKEN_CURSOR = (Moment.LIST, "list_with_broken_cursor")
    MODEL_ERROR = (Moment.MODEL, "model_error")
    MODEL_THROTTLED = (Moment.MODEL, "model_throttled")
    DOWNLOAD_ERROR = (Moment.DOWNLOAD, "download_error")
    DOWNLOAD_TRUNCATED = (Moment.DOWNLOAD, "download_truncated")
    DOWNLOAD_GARBAGE = (Moment.DOWNLOAD, "download_garbage")
    #: 200 with a whole file that is no image to keep.
    DOWNLOAD_SVG = (Moment.DOWNLOAD, "download_svg")
    DOWNLOAD_GIF = (Moment.DOWNLOAD, "download_gif")
    DOWNLOAD_VIDEO = (Moment.DOWNLOAD, "download_video")
    DOWNLOAD_BOMB = (Moment.DOWNLOAD, "download_bomb")
    DOWNLOAD_DAMAGED = (Moment.DOWNLOAD, "download_damaged")
    #: Announces two gigabytes, and begins to send them.
    DOWNLOAD_TOO_LARGE = (Moment.DOWNLOAD, "download_too_large")
    DOWNLOAD_REDIRECTED = (Moment.DOWNLOAD, "download_redirected")

    @property
    def moment(self) -> Moment:
        return self.value[0]

    @property
    def label(self) -> str:
        return self.value[1]


#: By the names that other processes use.
FAULTS_BY_LABEL = {fault.label: fault for fault in ReplicateFault}
