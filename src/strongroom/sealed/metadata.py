"""What is recorded of an object beside its bytes: ETag, content headers, user metadata, checksum. Pure values.

Names are those of the HTTP headers, in lower case; values are as they came (Latin-1). Our own names begin with ":",
which no header's name can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as _quoted
from typing import NamedTuple

ETAG = ":etag"
UPLOAD = ":upload"
CHECKSUM = ":checksum"


@dataclass(frozen=True, slots=True)
class ObjectChecksum:
    """A checksum as S3 keeps it: ``algorithm`` ("CRC32C"), ``kind`` ("FULL_OBJECT" or "COMPOSITE"), ``value``
    (base64).
    """

    algorithm: str
    kind: str
    value: str


class Metadata(NamedTuple):
    """What a client said of an object (``headers``), and what was found out as it was written.

    ``headers``: content headers and user metadata (``x-amz-meta-…``). ``etag``: without quotes. ``upload``: the id of
    the multipart upload that made it, or "".
    """

    headers: Mapping[str, str]
    etag: str = ""
    checksum: ObjectChecksum | None = None
    upload: str = ""

    def flat(self) -> dict[str, str]:
        """One mapping of names to texts; :func:`from_flat` reads it back."""
        flat = {**self.headers, ETAG: self.etag}
        if self.checksum:
            flat[CHECKSUM] = f"{self.checksum.algorithm} {self.checksum.kind} {self.checksum.value}"
        if self.upload:
            flat[UPLOAD] = self.upload
        return flat


def from_flat(flat: Mapping[str, str]) -> Metadata:
    """Read what :meth:`Metadata.flat` gave. Raises ValueError."""
    checksum = ObjectChecksum(*flat[CHECKSUM].split(" ", 2)) if CHECKSUM in flat else None
    headers = {name: value for name, value in flat.items() if not name.startswith(":")}
    return Metadata(headers, flat.get(ETAG, ""), checksum, flat.get(UPLOAD, ""))


_decode = json.JSONDecoder().raw_decode


def encode(metadata: Metadata) -> bytes:
    """As JSON, for sealing."""
    text = ",".join([f"{_quoted(name)}:{_quoted(value)}" for name, value in metadata.flat().items()])
    return f"{{{text}}}".encode()


def decode(data: bytes) -> Metadata:
    """Read what :func:`encode` gave. Raises ValueError."""
    text = data.decode()
    flat, end = _decode(text)
    if end != len(text) or not isinstance(flat, dict):
        raise ValueError("the metadata is damaged")
    for value in flat.values():
        if not isinstance(value, str):
            raise ValueError("the metadata is damaged")
    return from_flat(flat)
