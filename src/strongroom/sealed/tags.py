"""Object tags in a record: sealed apart from the object, since they are set without its key.

Tags of an encrypted object have an envelope of their own under a master key of the KMS: for SSE-KMS the object's, for
SSE-S3 and SSE-C the default one. Without a KMS (SSE-C alone), they stand in the clear; ``docs/security.md`` says so.
Their number stands in the clear, because every GET shows it.
"""

from __future__ import annotations

from strongroom.sealed.envelope import EnvelopeInvalid, decode_header, open_box, seal_box
from strongroom.sealed.keyholder import Keyholder
from strongroom.sealed.keys import Kind, record_key
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.record import TAGS, Record

TAGS_SSE = ":tags-sse"
TAGS_COUNT = ":tags-count"

_NAMES = (TAGS, TAGS_SSE, TAGS_COUNT)
_PURPOSE = b"tags"
NO_TAGS = {TAGS: b"", TAGS_COUNT: b"0"}
"""The entries for a legacy object whose tags, which MinIO recorded, were removed."""


async def seal_tags(
    keyholder: Keyholder, bucket: str, key: str, protection: Protection, tags: str, count: int
) -> dict[str, bytes]:
    """The entries of a record that hold the ``tags`` (a query string of ``count`` pairs) of an object of this
    protection; none for "". Raises KMSError.
    """
    if not tags:
        return {}
    shown = {TAGS_COUNT: str(count).encode()}
    if protection.kind is Kind.PLAIN or (protection.kind is Kind.SSE_C and not keyholder.has_kms):
        return {TAGS: tags.encode(), **shown}
    own = protection if protection.kind is Kind.SSE_KMS else SSE_S3
    header, tags_key = await keyholder.new(bucket, key, own)
    encoded = header.encode()
    return {
        TAGS_SSE: encoded,
        TAGS: seal_box(record_key(tags_key), _PURPOSE, encoded, tags.encode()),
        **shown,
    }


async def open_tags(keyholder: Keyholder, bucket: str, key: str, kind: Kind, record: Record, legacy: str = "") -> str:
    """The tags in the record of an object of this kind; if it has none, ``legacy``, those that MinIO recorded.

    Raises KMSError, EnvelopeInvalid.
    """
    if TAGS not in record:
        return legacy
    content = record[TAGS]
    encoded = record.get(TAGS_SSE)
    if encoded is None:
        if content and kind in (Kind.SSE_S3, Kind.SSE_KMS):
            raise EnvelopeInvalid("they are not sealed, as those of its kind are")
    else:
        tags_key = await keyholder.open_by_kms(bucket, key, decode_header(encoded))
        content = open_box(record_key(tags_key), _PURPOSE, encoded, content)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise EnvelopeInvalid("the tags are damaged") from error


def tag_entries(record: Record) -> dict[str, bytes]:
    """The entries of a record that hold its tags, as they are."""
    return {name: record[name] for name in _NAMES if name in record}


def without_tags(record: Record) -> dict[str, bytes]:
    """A record without its tags."""
    return {name: value for name, value in record.items() if name not in _NAMES}


def tag_count(record: Record, legacy: str = "") -> int:
    """The number of tags in a record; if it has none of its own, of those that MinIO recorded (``legacy``).

    Raises EnvelopeInvalid.
    """
    count = record.get(TAGS_COUNT)
    if count is None:
        return len(legacy.split("&")) if legacy else 0
    if not count.isdigit() or len(count) > 2:
        raise EnvelopeInvalid("the number of tags is damaged")
    return int(count)
