"""Storage's part of the fake: buckets and objects, statuses as observed on 1.11.2."""

from __future__ import annotations

import json
import re

from tests.fakes.supabase.exchange import Reply, Request, json_reply
from tests.fakes.supabase.faults import storage_problem
from tests.fakes.supabase.keyring import SERVICE, Bad
from tests.fakes.supabase.world import FakeBucket, ProjectStore, Stored

_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
_TYPE = re.compile(r"[\w.+-]+/[\w.+*-]+(;.*)?")
_RLS = "new row violates row-level security policy"


def answer_storage(world: ProjectStore, request: Request) -> Reply:
    """The reply to a request below ``/storage/v1``; ``path`` begins behind that."""
    reply = _answer(world, request)
    if world.sends_codes or reply.status < 400 or not reply.data:
        return reply
    body = json.loads(reply.data)
    body.pop("code", None)
    return json_reply(reply.status, body)


def _answer(world: ProjectStore, request: Request) -> Reply:
    place, _, rest = request.path.lstrip("/").partition("/")
    if place == "object" and rest.startswith("public/"):
        return _get_public(world, rest.removeprefix("public/"))
    role = world.keyring.role_of(request.headers)
    if isinstance(role, Bad):
        return _refuse_token(role, request, is_object=place == "object")
    if place == "bucket":
        return _answer_bucket(world, request, rest, role)
    if place == "object":
        return _answer_object(world, request, rest.removeprefix("authenticated/"), role)
    return _unknown_route(request)


def _refuse_token(bad: Bad, request: Request, *, is_object: bool) -> Reply:
    if bad is Bad.MISSING:
        message = "headers must have required property 'authorization'"
        return storage_problem(400, 400, "Error", "InvalidRequest", message)
    # A bad key looks like a missing bucket on download.
    if is_object and request.method in ("GET", "HEAD"):
        return _no_bucket()
    return storage_problem(400, 403, "Unauthorized", "AccessDenied", bad.value)


def _answer_bucket(world: ProjectStore, request: Request, name: str, role: str) -> Reply:
    if request.method == "POST" and not name:
        return _make_bucket(world, request, role)
    if request.method != "GET" or not name:
        return _unknown_route(request)
    bucket = world.buckets.get(name) if role == SERVICE else None
    if bucket is None:
        return _no_bucket()
    described = {
        "id": name,
        "name": name,
        "owner": "",
        "public": bucket.public,
        "file_size_limit": bucket.file_size_limit,
        "allowed_mime_types": bucket.allowed_mime_types,
    }
    return json_reply(200, described)


def _make_bucket(world: ProjectStore, request: Request, role: str) -> Reply:
    if role != SERVICE or ("storage", "buckets") in world.closed:
        return storage_problem(400, 403, "Unauthorized", "AccessDenied", _RLS)
    asked = json.loads(request.body)
    name = asked.get("id") or asked["name"]
    if name in world.buckets:
        return storage_problem(
            400, 409, "Duplicate", "BucketAlreadyExists", "The resource already exists"
        )
    world.buckets[name] = FakeBucket(public=bool(asked.get("public", False)))
    return json_reply(200, {"name": name})


def _answer_object(world: ProjectStore, request: Request, rest: str, role: str) -> Reply:
    name, _, key = rest.partition("/")
    bucket = world.buckets.get(name)
    if request.method in ("POST", "PUT"):
        return _put_object(world, request, name, key, role)
    if bucket is None:
        return _no_bucket()
    stored = bucket.objects.get(key) if role == SERVICE else None
    if stored is None:
        return _no_object()
    if request.method == "DELETE":
        del bucket.objects[key]
        return json_reply(200, {"message": "Successfully deleted"})
    if request.method in ("GET", "HEAD"):
        return _show(stored)
    return _unknown_route(request)


def _put_object(world: ProjectStore, request: Request, name: str, key: str, role: str) -> Reply:
    if not _KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
        return storage_problem(400, 400, "InvalidKey", "InvalidKey", f"Invalid key: {key}")
    bucket = world.buckets.get(name)
    if bucket is None:
        return _no_bucket()
    if role != SERVICE or ("storage", "objects") in world.closed:
        return storage_problem(400, 403, "Unauthorized", "AccessDenied", _RLS)
    content_type = request.headers.get("content-type", "application/octet-stream")
    refusal = _refuse_content(world, bucket, len(request.body), content_type)
    if refusal:
        return refusal
    overwrites = request.method == "PUT" or request.headers.get("x-upsert") == "true"
    if key in bucket.objects and not overwrites:
        return storage_problem(
            400, 409, "Duplicate", "KeyAlreadyExists", "The resource already exists"
        )
    bucket.objects[key] = Stored(request.body, content_type)
    return json_reply(200, {"Key": f"{name}/{key}", "Id": "00000000-0000-4000-8000-000000000000"})


def _refuse_content(
    world: ProjectStore, bucket: FakeBucket, size_bytes: int, content_type: str
) -> Reply | None:
    if size_bytes > min(world.upload_limit_bytes, bucket.file_size_limit or size_bytes):
        message = "The object exceeded the maximum allowed size"
        return storage_problem(400, 413, "Payload too large", "EntityTooLarge", message)
    if not _TYPE.fullmatch(content_type):
        message = "Invalid Content-Type header"
        return storage_problem(400, 415, "invalid_mime_type", "InvalidMimeType", message)
    allowed = bucket.allowed_mime_types
    if allowed and not {content_type, f"{content_type.partition('/')[0]}/*"} & set(allowed):
        message = f"mime type {content_type} is not supported"
        return storage_problem(400, 415, "invalid_mime_type", "InvalidMimeType", message)
    return None


def _get_public(world: ProjectStore, rest: str) -> Reply:
    name, _, key = rest.partition("/")
    bucket = world.buckets.get(name)
    if bucket is None or not bucket.public:
        return _no_bucket()
    return _show(bucket.objects[key]) if key in bucket.objects else _no_object()


def _show(stored: Stored) -> Reply:
    return Reply(200, stored.data, stored.content_type, {"ETag": f'"{stored.tag}"'})


def _no_bucket() -> Reply:
    return storage_problem(400, 404, "Bucket not found", "NoSuchBucket", "Bucket not found")


def _no_object() -> Reply:
    return storage_problem(400, 404, "not_found", "NoSuchKey", "Object not found")


def _unknown_route(request: Request) -> Reply:
    message = f"Route {request.method}:{request.path} not found"
    return json_reply(404, {"message": message, "error": "Not Found", "statusCode": 404})
