"""Makes tests/format/vectors.json: `python tests/format/make_vectors.py > tests/format/vectors.json`.

The random values of the format are fixed here, so that an implementation in another language can check each step.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from unittest import mock

from strongroom.kms.base import WrappedKey, context_bytes
from strongroom.kms.static import StaticKMS
from strongroom.sealed import envelope, keys
from strongroom.sealed.context import kms_context
from strongroom.sealed.dare import Sealer
from strongroom.sealed.listed import Listed, ListingKey
from strongroom.sealed.metadata import Metadata, ObjectChecksum
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.record import seal_parts, sealed_record
from strongroom.secret import Secret

MASTER = bytes.fromhex("6368616e676520746869732070617373776f726420746f206120736563726574")
CUSTOMER = bytes(range(32))
BUCKET, KEY = "vault", "reports/2026/ünïcode & spaces.txt"
ADDED = '{"department":"ledger","zürich":""}'
PATTERN = b"Strongroom "


def plaintext(size: int) -> bytes:
    """The plaintext of every vector: a pattern, repeated and cut."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def counting_random(size: int) -> bytes:
    """In place of os.urandom: 00 01 02 …, going on from call to call."""
    return bytes(next(_COUNTER) & 0xFF for _ in range(size))


_COUNTER = itertools.count()


def vector(
    name: str,
    kind: keys.Kind,
    sizes: list[int],
    multipart: bool,
    all_bytes: bool,
    added: str = "",
    bucket_key: bool = False,
    listed: bool = False,
) -> dict[str, object]:
    """One object with all its intermediate values; ``added`` to the context by the client."""
    object_key = keys.new_object_key()
    wrapped: WrappedKey | None = None
    external = keys.ExternalKey(CUSTOMER)
    context = kms_context(BUCKET, None if bucket_key else KEY, added)
    if kind is not keys.Kind.SSE_C:
        data_key = StaticKMS("my-minio-key", Secret(MASTER))._generate(context)
        external, wrapped = keys.ExternalKey(data_key.plaintext), data_key.wrapped
    iv = keys.new_iv()
    sealed = keys.seal_object_key(external, object_key, kind, iv, f"{BUCKET}/{KEY}")
    etag = "" if kind is keys.Kind.SSE_S3 else "0123456789abcdef0123456789abcdef"
    named = kind is keys.Kind.SSE_KMS and not bucket_key
    header = envelope.Header(kind, sum(sizes), iv, sealed, wrapped, etag, multipart, added, bucket_key, named)
    metadata = Metadata(
        {"content-type": "text/plain", "x-amz-meta-who": "somebody"},
        etag or "d41d8cd98f00b204e9800998ecf8427e",
        ObjectChecksum("CRC32", "FULL_OBJECT", "AAAAAA=="),
    )
    setting, listing = listing_key() if listed else (b"", None)
    record = sealed_record(header, keys.record_key(object_key), metadata, listing)
    whole, stream, at, entries = plaintext(sum(sizes)), b"", 0, []
    for number, size in enumerate(sizes, 1):
        nonce = bytes([os.urandom(1)[0] & 0x7F]) + os.urandom(11)
        key = keys.part_key(object_key, number) if multipart else object_key
        stream += Sealer(key, nonce).seal(whole[at : at + size], final=True) if size else b""
        entries.append(PartEntry(number, size, nonce, bytes(16), b"\1\2\3\4"))
        at += size
    annex = seal_parts(header, keys.record_key(object_key), entries) if multipart else b""
    return {
        "name": name,
        "bucket": BUCKET,
        "key": KEY,
        "size": sum(sizes),
        "external_key": (CUSTOMER if kind is keys.Kind.SSE_C else MASTER).hex(),
        "kms_context": context_bytes(context).decode(),
        "data_key": external.hex(),
        "object_key": object_key.hex(),
        "record_key": keys.record_key(object_key).hex(),
        "record": {field: value.hex() for field, value in record.items()},
        "annex": annex.hex(),
        "metadata": metadata.flat(),
        "stored_sha256": hashlib.sha256(stream).hexdigest(),
        "stored": stream.hex() if all_bytes or len(stream) < 4096 else "",
        **({"listing_key": setting.hex()} if listed else {}),
    }


def listing_key() -> tuple[bytes, Listed]:
    """The listing key of the bucket: as it lies among the settings, and for the vector's object."""
    key = keys.new_object_key()
    data_key = StaticKMS("my-minio-key", Secret(MASTER))._generate(kms_context(BUCKET, ""))
    external, iv = keys.ExternalKey(data_key.plaintext), keys.new_iv()
    sealed = keys.seal_object_key(external, key, keys.Kind.SSE_S3, iv, f"{BUCKET}/")
    header = envelope.Header(keys.Kind.SSE_S3, 0, iv, sealed, data_key.wrapped)
    return header.encode(), Listed(ListingKey(key), f"{BUCKET}/{KEY}")


def vectors(all_bytes: bool = False) -> list[dict[str, object]]:
    """All vectors, the same at each call; ``all_bytes``: the stored bytes also where they are long."""
    global _COUNTER
    _COUNTER = itertools.count()
    with mock.patch("os.urandom", counting_random):
        return [
            vector("empty, SSE-S3", keys.Kind.SSE_S3, [0], False, all_bytes),
            vector("one short package, SSE-S3", keys.Kind.SSE_S3, [100], False, all_bytes),
            vector("one short package, SSE-C", keys.Kind.SSE_C, [100], False, all_bytes),
            vector("one full package, SSE-S3", keys.Kind.SSE_S3, [65_536], False, all_bytes),
            vector("a full package and a byte, SSE-C", keys.Kind.SSE_C, [65_537], False, all_bytes),
            vector("three parts, SSE-S3", keys.Kind.SSE_S3, [70_000, 65_536, 5], True, all_bytes),
            vector("two parts, SSE-C", keys.Kind.SSE_C, [131_072, 1], True, all_bytes),
            vector("one short package, SSE-KMS", keys.Kind.SSE_KMS, [100], False, all_bytes),
            vector("one part, SSE-KMS with a context", keys.Kind.SSE_KMS, [5], True, all_bytes, ADDED),
            vector("one part, SSE-KMS with a bucket key", keys.Kind.SSE_KMS, [5], True, all_bytes, ADDED, True),
            vector("one short package, SSE-S3 and listed", keys.Kind.SSE_S3, [100], False, all_bytes, listed=True),
        ]


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1, ensure_ascii=False)
    print()
