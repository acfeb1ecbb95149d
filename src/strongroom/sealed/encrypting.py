"""Encrypting objects that lie in plaintext, in place: read, compared with what is recorded, sealed, written anew.

An object keeps what clients see of it: metadata, tags, checksums, parts, and its ETag unless its new kind of encryption
has opaque ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from strongroom.sealed.context import object_name
from strongroom.sealed.dare import Sealer, new_nonce, sealed_size
from strongroom.sealed.envelope import EnvelopeInvalid
from strongroom.sealed.errors import LegacyNotCovered
from strongroom.sealed.keys import Kind, new_object_key, only_nonce, part_key, record_key
from strongroom.sealed.legacy import headed
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.objects import multipart_etag, opaque_etag
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.pipeline import BodyPipeline
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.record import seal_parts, sealed_record
from strongroom.sealed.store import SealedStore
from strongroom.store.base import FOREIGN, FOUND, LEFT, Condition, Stored, Writer
from strongroom.store.errors import ConditionFailed, Damaged

_MD5 = 32  # hexadecimal digits


def may_be_plain(bucket: str, stored: Stored) -> bool:
    """Whether an object may lie in plaintext. True for a damaged one: opening it tells."""
    try:
        return headed(bucket, stored)[1] is None
    except (EnvelopeInvalid, Damaged, LegacyNotCovered):
        return True


async def encrypt(objects: SealedStore, bucket: str, key: str) -> bool:
    """Encrypt an object as its bucket encrypts by default, else with SSE-S3; False if it is encrypted already.

    Readers see it whole throughout. Raises NoSuchObject; ConditionFailed if a client writes the object meanwhile;
    Damaged if its bytes are not those whose MD5 is recorded; KMSError, SealedError.
    """
    source = await objects.open(bucket, key)
    try:
        if source.info.kind is not Kind.PLAIN:
            return False
        protection = await objects.protection(bucket, None)
        if protection.kind is Kind.PLAIN:
            protection = await objects.protection(bucket, SSE_S3)
        await _encrypt(objects, bucket, source, protection)
        return True
    finally:
        await source.close()


async def _encrypt(objects: SealedStore, bucket: str, source: OpenObject, protection: Protection) -> None:
    info, stored = source.info, source.reader.stored
    keyholder, opaque = objects.keyholder, objects.opaque(protection.kind)
    parts, object_key = list(await source.parts()), new_object_key()
    header = await keyholder.seal(bucket, info.key, protection, object_key, info.size, info.multipart)
    tags = await objects.tags_of(bucket, stored)
    sealed_tags = await objects.seal_tags(bucket, info.key, protection, tags, info.tag_count)
    listed = await objects.listed(bucket, info.key, protection.kind)
    store = objects.outer.writing(bucket, info.key, protection)
    sizes = [part.size for part in parts] if info.multipart else [info.size]
    writer = await store.writer(bucket, info.key, sum(map(sealed_size, sizes)), encrypted=True)
    try:
        nonces, digests, start = [], [], 0
        for number, size in enumerate(sizes):
            secret = part_key(object_key, parts[number].number) if info.multipart else object_key
            nonces.append(new_nonce() if info.multipart else only_nonce(object_key))
            pipeline = BodyPipeline(objects.pool, _Stream(writer), Sealer(secret, nonces[-1]), md5=True)
            digests.append(await _sealed(source, start, size, pipeline))
            start += size
        _check(bucket, source, parts, digests)
        fresh = await objects.outer.read(bucket, info.key, None, lambda store: store.head(bucket, info.key))
        if fresh.identity != stored.identity:
            # On another S3 the condition of the commit cannot tell apart plain objects that differ in their tags alone.
            raise ConditionFailed(f"{object_name(bucket, info.key)!r} was written meanwhile")
        etag = _etag(source, digests, protection.kind, len(parts), opaque)
        header = header.resized(info.size, etag if opaque else "")
        entries = [
            replace(part, nonce=nonce, md5=os.urandom(16) if opaque else part.md5)
            for part, nonce in zip(parts, nonces, strict=False)
        ]
        metadata = Metadata(info.headers, etag, info.checksum, info.upload)
        record = {**sealed_record(header, record_key(object_key), metadata, listed), **sealed_tags}
        annex = seal_parts(header, record_key(object_key), entries) if info.multipart else b""
        await writer.commit(record, annex, Condition(identity=stored.identity))
    except BaseException:
        await writer.abort()
        raise


class _Stream:
    """A store's writer, as the sink of one of the streams of an object, which others may follow.

    It has no ``append``, because that is told which bytes are the last of the object.
    """

    append = None

    def __init__(self, writer: Writer) -> None:
        self.write = writer.write


async def _sealed(source: OpenObject, start: int, size: int, pipeline: BodyPipeline) -> bytes:
    """Seal a range of an object; returns the MD5 of its plaintext."""
    try:
        await source.pour(start, size, pipeline)
    except BaseException:
        await pipeline.abort()
        raise
    assert pipeline.md5 is not None
    return pipeline.md5


def _check(bucket: str, source: OpenObject, parts: Sequence[PartEntry], digests: Sequence[bytes]) -> None:
    """Raises Damaged if the bytes are not those that were uploaded, as far as that can be known.

    It cannot for what others put into the store, whose ETag need not be an MD5, nor for what MinIO left, which recorded
    an MD5 only if the client sent one.
    """
    if _is_of_others(source.reader.stored):
        return
    etag = source.info.etag
    if source.info.multipart:
        is_known = etag == multipart_etag([part.md5 for part in parts])
        is_right = list(digests) == [part.md5 for part in parts]
    else:
        is_known, is_right = len(etag) == _MD5, etag == digests[0].hex()
    if is_known and not is_right:
        raise Damaged(f"{object_name(bucket, source.info.key)!r}: its bytes are not those whose MD5 is recorded")


def _etag(source: OpenObject, digests: Sequence[bytes], kind: Kind, parts: int, opaque: bool) -> str:
    if opaque:
        return opaque_etag(kind, parts)
    if FOUND in source.reader.stored.record:
        return digests[0].hex()  # until now, a stand-in was shown: nobody had computed the MD5
    return source.info.etag


def _is_of_others(stored: Stored) -> bool:
    return any(name in stored.record for name in (LEFT, FOUND, FOREIGN))
