"""Object tags in a record: sealed apart from the object, since they are set without its key.

Tags of an encrypted object have an envelope of their own under the KMS's master key, for SSE-KMS that of the object,
also where the object's key is the client's. Without a KMS (SSE-C alone), they stand in the clear; ``docs/security.md``
says so. Their number stands in the clear, because every GET shows it.
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
"""The entries that say of a legacy object that the tags MinIO recorded were removed."""


async def seal_tags(
    keyholder: Keyholder, bucket: str, key: str, protection: Protection, tags: str, count: int
) -> dict[str, bytes]:
    """The entries of a record that keep ``tags`` (a query string of ``count`` pairs) of an object that is protected so;
    none for "". Raises KMSError.
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
    """The tags in the record of an object of this kind, else ``legacy``, those that MinIO recorded.

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
    """The entries of a record that keep its tags, as they are."""
    return {name: record[name] for name in _NAMES if name in record}


def without_tags(record: Record) -> dict[str, bytes]:
    """A record without its tags."""
    return {name: value for name, value in record.items() if name not in _NAMES}


def tag_count(record: Record, legacy: str = "") -> int:
    """How many tags a record keeps; of those that MinIO recorded (``legacy``) where it keeps none of its own.

    Raises EnvelopeInvalid.
    """
    count = record.get(TAGS_COUNT)
    if count is None:
        return len(legacy.split("&")) if legacy else 0
    if not count.isdigit() or len(count) > 2:
        raise EnvelopeInvalid("the number of tags is damaged")
    return int(count)
