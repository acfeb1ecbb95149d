"""What a MinIO of 2019 left behind, unpacked for tests. ``fixtures/README.md`` says what there is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import tarfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from strongroom.legacy.context import bound_name, context_forms
from strongroom.legacy.datakey import open_data_key
from strongroom.legacy.document import SEAL_ALGORITHM, SSE_C, SSE_KMS, LegacyObject, read_document
from strongroom.legacy.seals import open_object_key
from strongroom.sealed.dare import Sealer, new_nonce
from strongroom.sealed.keys import ObjectKey, part_key

FIXTURES = Path(__file__).parent / "fixtures"
BUCKET = "ledger"
MASTER_KEY_NAME = "my-minio-key"
MASTER_KEY = bytes.fromhex("6368616e676520746869732070617373776f726420746f206120736563726574")
CUSTOMER_KEY = bytes(range(32))
STATIC = ("server-fs", "gateway-nas", "gateway-s3")
FOLDERS = ("server-fs", "gateway-nas")
_SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # before Python 3.11.4


@dataclass(frozen=True)
class Entry:
    """An object, as that release showed it."""

    key: str
    sse: str
    size: int
    seed: int
    sha256: str
    etag: str
    content_type: str
    metadata: dict[str, str] = field(default_factory=dict)
    sse_header: str | None = None
    parts: tuple[int, ...] = ()

    @property
    def plaintext(self) -> bytes:
        return random.Random(self.seed).randbytes(self.size)

    @property
    def is_sse_c(self) -> bool:
        return self.sse == "SSE-C"


@cache
def manifest(name: str) -> tuple[Entry, ...]:
    rows = json.loads((FIXTURES / "manifest.json").read_text())[name]
    return tuple(
        Entry(
            row["key"], row["sse"], row["size"], row["seed"], row["sha256"], row["etag"].strip('"'),
            row["content_type"], {k.lower(): v for k, v in row["metadata"].items()}, row["sse_header"],
            tuple(row["parts"] or ()),
        )
        for row in rows
    )  # fmt: skip


def unpack(name: str, folder: Path) -> Path:
    """Put the files of a fixture into a folder, those that are left out of the archive made again."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, **_SAFELY)
    for key, row in json.loads((FIXTURES / "rebuilt.json").read_text())[name].items():
        (entry,) = (entry for entry in manifest(name) if entry.key == key)
        nonces = [bytes.fromhex(nonce) for nonce in row["nonces"]]
        data = _streams(entry, object_key(entry, read_document(document(name, folder, key))), nonces)
        assert hashlib.sha256(data).hexdigest() == row["sha256"], f"{key} is not what MinIO wrote"
        (folder / row["file"]).write_bytes(data)
    return folder


def backend_objects(folder: Path) -> dict[str, Path]:
    """The objects of a backend, of an unpacked ``gateway-s3``: keys and the files with their bytes."""
    return {row["key"]: folder / row["file"] for row in json.loads((folder / "index.json").read_text())}


def document(name: str, folder: Path, key: str) -> bytes:
    """The document of an object: its ``fs.json``, or its ``dare.meta``."""
    if name == "gateway-s3":
        return backend_objects(folder)[f"{key}/.minio/dare.meta"].read_bytes()
    return document_path(folder, key).read_bytes()


def document_path(folder: Path, key: str) -> Path:
    """Where the ``fs.json`` of an object lies."""
    return folder / ".minio.sys" / "buckets" / BUCKET / key / "fs.json"


def under_sse_kms(entry: Entry, document: bytes, context: dict[str, str]) -> bytes:
    """The ``fs.json`` of an SSE-S3 object as it would be under SSE-KMS, with a client's ``context``."""
    fields, internal = json.loads(document), "X-Minio-Internal-Server-Side-Encryption-"
    key, name, data_key = object_key(entry, read_document(document)), bound_name(BUCKET, entry.key), bytes(range(32))
    (bound,) = context_forms({BUCKET: name, **context})
    wrapping = hmac.digest(MASTER_KEY, MASTER_KEY_NAME.encode() + bound, "sha256")
    iv = base64.b64decode(fields["meta"][internal + "Iv"])
    sealing = hmac.digest(data_key, iv + f"{SSE_KMS}{SEAL_ALGORITHM}{name}".encode(), "sha256")
    sealed = {
        "Kms-Sealed-Key": bytes(Sealer(sealing, new_nonce()).seal(key, final=True)),
        "S3-Kms-Sealed-Key": bytes(Sealer(wrapping, new_nonce()).seal(data_key, final=True)),
        **({"Context": json.dumps(context).encode()} if context else {}),
    }
    del fields["meta"][internal + "S3-Sealed-Key"]
    fields["meta"] |= {internal + field: base64.b64encode(value).decode() for field, value in sealed.items()}
    return json.dumps(fields).encode()


def data(name: str, folder: Path, key: str) -> bytes:
    """The bytes of an object, as they are stored."""
    if name == "gateway-s3":
        return backend_objects(folder)[f"{key}/.minio/data"].read_bytes()
    return (folder / BUCKET / key).read_bytes()


def object_key(entry: Entry, legacy: LegacyObject) -> ObjectKey:
    """The object key, with the static master key or the client's key."""
    assert legacy.sealing is not None
    external = CUSTOMER_KEY
    if legacy.sealing.domain != SSE_C:
        contexts = context_forms({BUCKET: bound_name(BUCKET, entry.key)})
        external = open_data_key(MASTER_KEY, legacy.sealing.key_id, legacy.sealing.wrapped, contexts)
    return ObjectKey(open_object_key(external, legacy.sealing, bound_name(BUCKET, entry.key)))


def sse_c(prefix: str = "") -> dict[str, str]:
    """boto3's parameters for the client's key."""
    key = base64.b64encode(CUSTOMER_KEY).decode()
    digest = base64.b64encode(hashlib.md5(CUSTOMER_KEY).digest()).decode()
    names = ("Algorithm", "Key", "KeyMD5")
    return {f"{prefix}SSECustomer{name}": value for name, value in zip(names, ("AES256", key, digest), strict=True)}


def _streams(entry: Entry, key: ObjectKey, nonces: list[bytes]) -> bytes:
    keys = [part_key(key, n) for n in range(1, len(entry.parts) + 1)] or [key]
    stored, position = b"", 0
    for secret, size, nonce in zip(keys, entry.parts or (entry.size,), nonces, strict=True):
        stored += Sealer(secret, nonce).seal(entry.plaintext[position : position + size], final=True)
        position += size
    return stored
