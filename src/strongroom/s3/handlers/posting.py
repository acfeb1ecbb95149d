"""Browser uploads: POST on a bucket, with a form that holds the object and everything about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from strongroom.header_names import CONTENT_HEADERS, META
from strongroom.s3.auth import Credentials
from strongroom.s3.auth.post import SIGNING, FormDecoder, PostForm, PostIdentity, authenticate_form, missing_field
from strongroom.s3.call import Answer, Relay
from strongroom.s3.describe import (
    check_header,
    check_upload_headers,
    checksum_headers,
    quoted,
    stored_headers,
)
from strongroom.s3.encryption import EncryptionHeaders, confirmed
from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.naming import check_key
from strongroom.s3.observing import Seen
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import HttpRequest
from strongroom.s3.tags import format_tags
from strongroom.s3.upload import MAX_PUT, Integrity
from strongroom.s3.xml import DECLARATION, escape, read_document
from strongroom.sealed.objects import ObjectInfo
from strongroom.sealed.policy import Protection
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import AnyObjectWriter, Description

_SIGNED = ("policy", *SIGNING)


class PostHandler:
    """Handles browser uploads. ``credentials`` and ``region`` are the server's. With ``relay``, objects go to the
    backend through it instead of into the sealed store.
    """

    def __init__(self, objects: SealedStore, credentials: Credentials, region: str, relay: Relay | None = None) -> None:
        self._objects = objects
        self._relay = relay
        self._credentials = credentials
        self._region = region

    async def answer(self, seen: Seen, bucket: str, body: BodyReceiver, secure: bool) -> tuple[Answer, Response]:
        """Store the file of a form. Fills in ``seen``: whose access key signed the form, and the object's key."""
        request = seen.request
        decoder = FormDecoder(request.headers.get("content-type", ""))
        first = await _until_file(decoder, body)
        form = decoder.form
        assert form is not None
        _name_file(form)
        identity = authenticate_form(form, bucket, self._credentials, self._region, datetime.now(UTC))
        seen.access_key = identity.access_key
        key = seen.key = _key(form)
        headers = _as_headers(form.fields)
        check_upload_headers(headers)
        kept, tags, integrity = stored_headers(headers), _tags(form.fields.get("tagging", "")), Integrity(headers)
        asked = EncryptionHeaders(headers, secure).protection()
        if self._relay is None:
            writer: AnyObjectWriter = await self._objects.begin(
                bucket, key, asked, None, md5=integrity.wants_md5, hashers=integrity.hashers
            )
        else:
            writer = await self._relayed(self._relay, bucket, key, asked, kept, tags[0], integrity)
        try:
            await _take(decoder, body, first, writer, identity)
            integrity.check(writer.md5, {})
            sealed_tags = await self._objects.seal_tags(bucket, key, writer.protection, *tags)
            info = await writer.commit(Description(kept, integrity.checksum, sealed_tags))
        except BaseException:
            await writer.abort()
            raise
        answer, response = _respond(request, form.fields, bucket, info)
        answer.headers += [*checksum_headers(info.checksum), *confirmed(info, asked)]
        answer.about = info
        return answer, response

    async def _relayed(
        self,
        relay: Relay,
        bucket: str,
        key: str,
        asked: Protection | None,
        kept: Mapping[str, str],
        tags: str,
        integrity: Integrity,
    ) -> AnyObjectWriter:
        """A writer that stores the object on the backend, with its headers and tags: readers get them from there."""
        if asked is not None:
            raise S3Error("NotImplemented", "Forms that ask for encryption are not relayed.")
        await self._objects.protection(bucket, None)
        headers = {**kept, "x-amz-tagging": tags} if tags else kept
        return relay.form(self._objects.pool, (bucket, key), headers, integrity.wants_md5, integrity.hashers)


async def _until_file(decoder: FormDecoder, body: BodyReceiver) -> list[bytes]:
    """Read the form up to its file. Returns the bytes of the file that have come so far. Raises S3Error."""
    while data := await body.next():
        pieces = decoder.feed(data)
        if decoder.form is not None:
            return pieces
    decoder.finish()
    raise S3Error("IncorrectNumberOfFilesInPostRequest")


async def _take(
    decoder: FormDecoder, body: BodyReceiver, pieces: list[bytes], writer: AnyObjectWriter, identity: PostIdentity
) -> None:
    limit = MAX_PUT if identity.max_length is None else min(MAX_PUT, identity.max_length)
    while True:
        for piece in pieces:
            await writer.write(piece)
        if writer.size > limit:
            raise S3Error("EntityTooLarge", ProposedSize=str(writer.size), MaxSizeAllowed=str(limit))
        data = await body.next()
        if not data:
            break
        pieces = decoder.feed(data)
    decoder.finish()
    if writer.size < identity.min_length:
        raise S3Error("EntityTooSmall", ProposedSize=str(writer.size), MinSizeAllowed=str(identity.min_length))
    await writer.finish()


def _name_file(form: PostForm) -> None:
    """Replace ``${filename}`` in the fields by the file's own name: the policy is checked against the result."""
    name = form.file_name.replace("\\", "/").rpartition("/")[2]  # browsers may send a path
    for field, value in form.fields.items():
        if field not in _SIGNED:
            form.fields[field] = value.replace("${filename}", name)


def _key(form: PostForm) -> str:
    if "key" not in form.fields:
        raise missing_field("key")
    key = form.fields["key"]
    check_key(key)
    return key


def _as_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields that stand for headers of a PUT, with values as HttpRequest has them (bytes as Latin-1).

    Raises InvalidArgument for a field that cannot be a header.
    """
    for name, value in fields.items():
        if name.startswith(META) or name in CONTENT_HEADERS:
            check_header(name, value)
    headers = {
        name: value.encode().decode("latin-1")
        for name, value in fields.items()
        if name not in ("key", "policy", "tagging", "acl") and not name.startswith("success_action")
    }
    if "acl" in fields:
        headers["x-amz-acl"] = fields["acl"]
    return headers


def _tags(document: str) -> tuple[str, int]:
    if not document:
        return "", 0
    root = read_document(document.encode(), "Tagging")
    pairs = []
    for tag in root.iter():
        if tag.tag.rpartition("}")[2] == "Tag":
            values = {child.tag.rpartition("}")[2]: child.text or "" for child in tag}
            pairs.append((values.get("Key", ""), values.get("Value", "")))
    return format_tags(pairs)


def _respond(request: HttpRequest, fields: Mapping[str, str], bucket: str, info: ObjectInfo) -> tuple[Answer, Response]:
    """The answer that the form asks for: a redirect, a document (201), or an empty body (200, 204)."""
    location = f"{request.origin}{request.raw_path.rstrip('/')}/{quote(info.key)}"
    headers = [("etag", quoted(info.etag)), ("location", location)]
    redirect = fields.get("success_action_redirect") or fields.get("redirect", "")
    if redirect.startswith(("http://", "https://")) and redirect.isprintable():
        query = urlencode({"bucket": bucket, "key": info.key, "etag": quoted(info.etag)})
        target = redirect + ("&" if "?" in redirect else "?") + query
        return Answer(headers=[headers[0], ("location", target)]), Response(303, [], b"")
    status = fields.get("success_action_status")
    if status == "201":
        values = {"Location": location, "Bucket": bucket, "Key": info.key, "ETag": quoted(info.etag)}
        content = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
        document = f"{DECLARATION}<PostResponse>{content}</PostResponse>".encode()
        return Answer(headers=headers), Response(201, [("content-type", "application/xml")], document)
    return Answer(headers=headers), Response(200 if status == "200" else 204, [], b"")
