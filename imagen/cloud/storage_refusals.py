"""Storage's refusals: nearly all are HTTP 400, and the truth stands in the body.

Observed on supabase/storage 1.11.2: ``{"statusCode": "409", "error": "Duplicate", "code":
"KeyAlreadyExists", "message": …}`` with HTTP 400; also for 503, 544 and 423, which pass by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from imagen.cloud.http import Answer
from imagen.cloud.refusal import key_refused, refusal_by_status
from imagen.cloud.settings import SupabaseSettings
from imagen.errors import CloudError

NAME = "Supabase Storage"
_KEY_CODES = ("AccessDenied", "InvalidJWT", "SignatureDoesNotMatch")
# Older servers send no code, only the error's name.
_CODE_BY_ERROR = {
    "Bucket not found": "NoSuchBucket",
    "Duplicate": "KeyAlreadyExists",
    "InvalidKey": "InvalidKey",
    "Unauthorized": "AccessDenied",
    "not_found": "NoSuchKey",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer as Storage means it: the body's status and code, or else HTTP's and none."""

    status: int
    code: str
    message: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_duplicate(self) -> bool:
        return self.code == "KeyAlreadyExists"

    @property
    def is_missing_bucket(self) -> bool:
        return self.code == "NoSuchBucket"

    @property
    def is_missing_object(self) -> bool:
        return self.code == "NoSuchKey"


def verdict_of(answer: Answer) -> Verdict:
    """What the answer says, read from the body first."""
    body = answer.body if answer.status >= 400 else None
    if not isinstance(body, dict):
        return Verdict(answer.status, "", "")
    told = str(body.get("statusCode", ""))
    status = int(told) if told.isdecimal() and len(told) == 3 else answer.status
    code = body.get("code") or _CODE_BY_ERROR.get(str(body.get("error")), "")
    return Verdict(status, str(code), str(body.get("message", "")))


def storage_refusal(
    answer: Answer, settings: SupabaseSettings, *, bucket: str, key: str = ""
) -> CloudError:
    """The error that an answer without success means; ``key`` where it is about an object."""
    verdict = verdict_of(answer)
    about_key = _about_key(verdict, settings, bucket=bucket)
    if about_key:
        return about_key
    if verdict.is_missing_bucket:
        return CloudError(
            f"Supabase Storage shows no bucket {bucket!r}",
            f"is the key in {settings.key_variable} a secret key of this project?",
        )
    if verdict.is_missing_object:
        return CloudError(f"{bucket}/{key} is not in Supabase Storage", "", False, True)
    if verdict.status == 409:
        return CloudError(f"{bucket}/{key} exists already in Supabase Storage", "", False, True)
    if verdict.status == 413:
        return CloudError(
            f"{bucket}/{key} is larger than Supabase Storage takes (413)",
            f"raise the file size limit of bucket {bucket!r} or of the whole project",
            False,
            True,
        )
    if verdict.status == 415:
        return CloudError(
            f"bucket {bucket!r} does not take this type of file (415)",
            "allow image/* in the bucket's settings, or clear its list of allowed types",
        )
    if verdict.code == "InvalidKey":
        return CloudError(f"Supabase Storage does not take the key {key!r}", "", False, True)
    return refusal_by_status(replace(answer, status=verdict.status), settings, name=NAME)


def _about_key(verdict: Verdict, settings: SupabaseSettings, *, bucket: str) -> CloudError | None:
    if "row-level security" in verdict.message:
        return CloudError(
            f"row-level security keeps the key in {settings.key_variable} out of bucket {bucket!r}",
            "only a secret (service_role) key may upload; it is no anon or user key",
        )
    # A gateway that does not know the new keys passes them on without the header Storage reads.
    if "authorization" in verdict.message and not settings.key_is_jwt:
        return CloudError(
            f"this Supabase does not know keys such as the one in {settings.key_variable}",
            "for a self-hosted project, set its service_role key (eyJ…)",
        )
    if verdict.code in _KEY_CODES or verdict.status in (401, 403):
        return key_refused(settings, status=verdict.status)
    return None
