"""Keys of objects in the bucket: ASCII, one folder for each owner, safe in a URL."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import UUID

from anyascii import anyascii

from imagen.errors import CloudError, ConfigError

# A segment may have 255 bytes, and 37 of them are the job's id and a hyphen.
_MAX_SLUG_CHARS = 100
_MAX_SEGMENT_BYTES = 255
_MAX_KEY_BYTES = 1024
_NOT_IN_SLUG = re.compile("[^a-z0-9]+")
_EXT = re.compile("[a-z0-9]{1,8}")
# Observed on supabase/storage 1.11.2: every other character is refused as InvalidKey. ("//" and
# a slash at either end are accepted, but make folders without a name.)
_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")


def object_key(owner_user_id: str, job_id: UUID, slug: str, ext: str) -> str:
    """``<owner>/<job id>-<slug>.<ext>``: readable, ASCII whatever the slug, never empty.

    Raises:
        ConfigError: the owner is no user id. A reader's rights depend on the owner's folder.
    """
    try:
        owner = UUID(owner_user_id)
    except ValueError:
        raise ConfigError(
            f"owner_user_id {owner_user_id!r} is not a user id",
            "copy the id from the project's Authentication, Users",
        ) from None
    ascii_slug = _NOT_IN_SLUG.sub("-", anyascii(slug).lower())[:_MAX_SLUG_CHARS].strip("-")
    suffix = ext.lower().lstrip(".")
    return f"{owner}/{job_id}-{ascii_slug or 'image'}.{suffix if _EXT.fullmatch(suffix) else 'bin'}"


def quote_key(key: str) -> str:
    """The key, quoted for a URL.

    Raises:
        CloudError: Storage would refuse the key or read it as another one.
    """
    segments = key.split("/")
    fits = len(key) <= _MAX_KEY_BYTES and all(0 < len(s) <= _MAX_SEGMENT_BYTES for s in segments)
    # requests turns "w/../x.png" into "x.png" before sending, quoted or not.
    if not fits or not _KEY.fullmatch(key) or {".", ".."} & set(segments):
        raise CloudError(f"{key!r} cannot be a key in Supabase Storage", "", False, True)
    return "/".join(quote(segment, safe="") for segment in segments)
