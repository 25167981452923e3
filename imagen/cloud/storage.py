"""Supabase Storage: uploads images to a private bucket; uploading one twice is safe."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from urllib.parse import quote

from imagen.cloud.http import CloudHttp, read_object
from imagen.cloud.keys import quote_key
from imagen.cloud.refusal import not_supabase
from imagen.cloud.settings import SupabaseSettings
from imagen.cloud.storage_refusals import NAME, response_of, storage_refusal
from imagen.errors import CloudError
from imagen.http.exchange import HttpAnswer

BUCKET = "imagen-generated"
# Its statements may take 30 s: observed on supabase/storage 1.11.2, 11.6 s behind a lock.
_READ_TIMEOUT_S = 40.0
_MD5 = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as the server describes it; ``max_bytes`` is None where it sets no limit."""

    name: str
    is_public: bool
    max_bytes: int | None


class Storage:
    """One bucket of one project. Threads may share it; each call blocks 40 s or a bit more."""

    def __init__(
        self,
        settings: SupabaseSettings,
        bucket: str = BUCKET,
        *,
        read_timeout_s: float = _READ_TIMEOUT_S,
    ) -> None:
        self._settings = settings
        self._name = bucket
        self._http = CloudHttp(settings, "/storage/v1", name=NAME, read_timeout_s=read_timeout_s)
        self._bucket: Bucket | None = None

    def find_bucket(self) -> Bucket | None:
        """The bucket; None where it does not exist yet. Changes nothing.

        Raises:
            CloudError: the server did not say.
        """
        answer = self._http.call("GET", f"/bucket/{quote(self._name, safe='')}")
        response = response_of(answer)
        if response.is_missing_bucket:
            return None
        described = read_object(answer)
        if not response.is_success:
            raise self._refusal(answer)
        if "public" not in described:
            raise not_supabase(self._settings, name=NAME, status=answer.status)
        limit = described.get("file_size_limit")
        max_bytes = limit if isinstance(limit, int) and limit > 0 else None
        return Bucket(self._name, bool(described["public"]), max_bytes)

    def ensure_bucket(self) -> Bucket:
        """The bucket, made private if it was missing. Safe to call twice, and from two hosts.

        Raises:
            CloudError: it is public, so that every image could be read by its address; or it can
                be neither found nor made.
        """
        bucket = self.find_bucket()
        if bucket is None:
            bucket = self._make_bucket()
        if bucket.is_public:
            raise CloudError(
                f"bucket {self._name!r} is public: its images can be read without a key",
                "make it private in the Supabase dashboard, Storage, Edit bucket",
            )
        self._bucket = bucket
        return bucket

    def upload(self, key: str, data: bytes, content_type: str) -> None:
        """Upload the object. Safe to repeat after any failure: equal bytes are a success.

        Before the first upload the bucket is looked up, and made if it is missing.

        Raises:
            CloudError: it is not known to be there, or other bytes have that key.
        """
        path = self._object_path(key)
        if not data:
            raise CloudError(f"there are no bytes to upload as {key}", "", False, True)
        self._check_size(key, data, self._bucket or self.ensure_bucket())
        answer = self._post_object(path, data, content_type)
        if response_of(answer).is_missing_bucket:
            # It was deleted since it was looked up.
            self._bucket = None
            self._check_size(key, data, self.ensure_bucket())
            answer = self._post_object(path, data, content_type)
        response = response_of(answer)
        if response.is_duplicate:
            self._require_equal(key, data)
        elif not response.is_success:
            raise self._refusal(answer, key)
        elif "Key" not in read_object(answer):
            raise not_supabase(self._settings, name=NAME, status=answer.status)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _object_path(self, key: str) -> str:
        return f"/object/{quote(self._name, safe='')}/{quote_key(key)}"

    def _make_bucket(self) -> Bucket:
        spec = json.dumps({"id": self._name, "name": self._name, "public": False}).encode()
        answer = self._http.call(
            "POST", "/bucket", data=spec, headers={"Content-Type": "application/json"}
        )
        response = response_of(answer)
        if response.status == 409:
            # Another process made it first, which may have made it public.
            found = self.find_bucket()
            if found is None:
                raise self._refusal(answer)
            return found
        if not response.is_success:
            raise self._refusal(answer)
        return Bucket(self._name, is_public=False, max_bytes=None)

    def _check_size(self, key: str, data: bytes, bucket: Bucket) -> None:
        if bucket.max_bytes is not None and len(data) > bucket.max_bytes:
            raise CloudError(
                f"{key} has {len(data):,} bytes; bucket {self._name!r} takes {bucket.max_bytes:,}",
                "raise the bucket's file size limit in the Supabase dashboard",
                False,
                True,
            )

    def _post_object(self, path: str, data: bytes, content_type: str) -> HttpAnswer:
        headers = {
            "Content-Type": content_type,
            "Cache-Control": "max-age=3600",
            "x-upsert": "false",
        }
        return self._http.call("POST", path, data=data, headers=headers)

    def _require_equal(self, key: str, data: bytes) -> None:
        """Returns where the object at ``key`` holds ``data``: an earlier upload arrived.

        Raises:
            CloudError: it holds other bytes, or cannot be read.
        """
        # A compressed answer would have another length and a weak tag.
        answer = self._http.call(
            "HEAD", self._object_path(key), headers={"Accept-Encoding": "identity"}
        )
        if answer.status >= 400:
            raise CloudError(
                f"{key} exists already in Supabase Storage, but cannot be read to compare it",
                "",
                True,
            )
        size = answer.headers.get("Content-Length", "")
        tag = answer.headers.get("ETag", "").removeprefix("W/").strip('"')
        if size == str(len(data)) and _MD5.fullmatch(tag):
            is_equal = tag == hashlib.md5(data, usedforsecurity=False).hexdigest()
        elif size and size != str(len(data)):
            is_equal = False
        else:
            # The tag is no md5, as after an upload in parts.
            is_equal = self._download(key) == data
        if not is_equal:
            raise CloudError(
                f"{key} exists already in Supabase Storage with other content",
                "move or delete that object in the dashboard",
                False,
                True,
            )

    def _download(self, key: str) -> bytes:
        answer = self._http.call("GET", self._object_path(key))
        if not response_of(answer).is_success:
            raise self._refusal(answer, key)
        return answer.raw

    def _refusal(self, answer: HttpAnswer, key: str = "") -> CloudError:
        return storage_refusal(answer, self._settings, bucket=self._name, key=key)
