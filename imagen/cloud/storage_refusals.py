"""Refusals of Storage: nearly all have HTTP status 400 and the real status in the body.

Observed on supabase/storage 1.11.2: ``{"statusCode": "409", "error": "Duplicate", "code":
"KeyAlreadyExists", "message": …}`` with HTTP 400; also for 503, 544 and 423, which are temporary.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagen.cloud.http import read_object
from imagen.cloud.refusal import key_refused, refusal_by_status
from imagen.cloud.settings import SupabaseSettings
from imagen.errors import CloudError
from imagen.http.exchange import HttpAnswer

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
class StorageResponse:
    """What Storage answered: the status and code of the body, or else the status of HTTP."""

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


def response_of(answer: HttpAnswer) -> StorageResponse:
    """The answer, read from its body first."""
    body = read_object(answer) if answer.status >= 400 else {}
    told = str(body.get("statusCode", ""))
    status = int(told) if told.isdecimal() and len(told) == 3 else answer.status
    code = body.get("code") or _CODE_BY_ERROR.get(str(body.get("error")), "")
    return StorageResponse(status, str(code), str(body.get("message", "")))


def storage_refusal(
    answer: HttpAnswer, settings: SupabaseSettings, *, bucket: str, key: str = ""
) -> CloudError:
    """The error that an answer without success means; ``key`` where it is about an object."""
    response = response_of(answer)
    about_key = _about_key(response, settings, bucket=bucket)
    if about_key:
        return about_key
    if response.is_missing_bucket:
        return CloudError(
            f"Supabase Storage shows no bucket {bucket!r}",
            f"is the key in {settings.key_variable} a secret key of this project?",
        )
    if response.is_missing_object:
        return CloudError(f"{bucket}/{key} is not in Supabase Storage", "", False, True)
    if response.status == 409:
        return CloudError(f"{bucket}/{key} exists already in Supabase Storage", "", False, True)
    if response.status == 413:
        return CloudError(
            f"{bucket}/{key} is larger than Supabase Storage takes (413)",
            f"raise the file size limit of bucket {bucket!r} or of the whole project",
            False,
            True,
        )
    if response.status == 415:
        return CloudError(
            f"bucket {bucket!r} does not take this type of file (415)",
            "allow image/* in the bucket's settings, or clear its list of allowed types",
        )
    if response.code == "InvalidKey":
        return CloudError(f"Supabase Storage does not take the key {key!r}", "", False, True)
    return refusal_by_status(response.status, settings, name=NAME)


def _about_key(
    response: StorageResponse, settings: SupabaseSettings, *, bucket: str
) -> CloudError | None:
    if "row-level security" in response.message:
        return CloudError(
            f"row-level security keeps the key in {settings.key_variable} out of bucket {bucket!r}",
            "only a secret (service_role) key may upload; it is no anon or user key",
        )
    # A gateway that does not know the new keys forwards them without the header that Storage reads.
    if "authorization" in response.message and not settings.key_is_jwt:
        return CloudError(
            f"this Supabase does not know keys such as the one in {settings.key_variable}",
            "for a self-hosted project, set its service_role key (eyJ…)",
        )
    if response.code in _KEY_CODES or response.status in (401, 403):
        return key_refused(settings, status=response.status)
    return None
