"""Makes nas-vectors.json: files of a shared folder for some of the objects of vectors.json.

python -m tests.format.make_nas_vectors > tests/format/nas-vectors.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from strongroom.store.nas.layout import MARK, Beside, Segment, aligned, encode_beside, encode_trailer
from tests.format.make_vectors import vectors as object_vectors

IDENTITY = bytes(range(16))
MODIFIED = 1_700_000_000_123_456_789
_NAMES = ("empty, SSE-S3", "one short package, SSE-S3")


def file_of(vector: dict[str, Any], sizes: list[int]) -> bytes:
    """The file of an object whose stored bytes are cut into segments of these sizes."""
    stored, file, segments, at = bytes.fromhex(vector["stored"]), bytearray(MARK), [], 0
    for size in sizes:
        if len(sizes) > 1 or vector["annex"]:
            file += bytes(aligned(len(file)) - len(file))
        segments.append(Segment(len(file), size))
        file += stored[at : at + size]
        at += size
    record = {name: bytes.fromhex(value) for name, value in vector["record"].items()}
    return bytes(file) + encode_trailer(IDENTITY, MODIFIED, segments, record, bytes.fromhex(vector["annex"]))


def vectors() -> dict[str, Any]:
    """The vectors: whole files, and what lies beside a plain one."""
    made: list[Any] = object_vectors(all_bytes=True)
    objects = {vector["name"]: vector for vector in made}
    plain = Beside(
        "bucket/a/key", 5, MODIFIED, 4711, IDENTITY, {":etag": b"e", "content-type": b"text/plain"}, b"annex"
    )
    files = []
    for name in _NAMES:
        size = len(objects[name]["stored"]) // 2
        files.append({"name": name, "file": file_of(objects[name], [size]).hex()})
    return {"identity": IDENTITY.hex(), "modified": MODIFIED, "files": files, "beside": encode_beside(plain).hex()}


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    print()
