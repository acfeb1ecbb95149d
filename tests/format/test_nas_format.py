"""The files of a shared folder: the published vectors hold, and an independent reader opens what the product writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.customer_keys import SSE_C
from tests.format import make_nas_vectors, make_vectors, nas_reader, reader
from tests.server import MASTER_KEY, NAS, Server

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("nas-vectors.json").read_text())
MADE: list[Any] = make_vectors.vectors(all_bytes=True)
OBJECTS = {vector["name"]: vector for vector in MADE}
MIB = 1024 * 1024


def test_the_product_still_writes_what_the_vectors_say() -> None:
    assert make_nas_vectors.vectors() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda vector: vector["name"])
def test_an_independent_reader_opens_every_vector(vector: dict[str, Any]) -> None:
    expected = OBJECTS[vector["name"]]
    record, annex, stored, identity, modified = nas_reader.read_file(bytes.fromhex(vector["file"]))
    assert (identity.hex(), modified) == (VECTORS["identity"], VECTORS["modified"])
    assert stored.hex() == expected["stored"]
    external = bytes.fromhex(expected["external_key"])
    body, metadata = reader.read(record, annex, stored, expected["bucket"], expected["key"], external)
    assert (body, metadata) == (make_vectors.plaintext(expected["size"]), expected["metadata"])


def test_an_independent_reader_reads_what_lies_beside_a_plain_object() -> None:
    assert nas_reader.read_beside(bytes.fromhex(VECTORS["beside"])) == (
        "bucket/a/key", (5, VECTORS["modified"], 4711), {":etag": b"e", "content-type": b"text/plain"}, b"annex",
    )  # fmt: skip


def test_an_independent_reader_opens_what_a_gateway_wrote(tmp_path: Path) -> None:
    settings: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
    with Server(tmp_path, settings, command=NAS, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        body = os.urandom(200_000)
        client.put_object(Bucket="bucket", Key="a/simple", Body=body, ContentType="text/x-mine")
        client.put_object(Bucket="bucket", Key="a/customer", Body=body, **SSE_C)
        parts = [os.urandom(5 * MIB + 3), os.urandom(5 * MIB), b"end"]
        name: Any = {"Bucket": "bucket", "Key": "parts"}
        upload = client.create_multipart_upload(**name)["UploadId"]
        done = [
            {"PartNumber": n, "ETag": client.upload_part(**name, UploadId=upload, PartNumber=n, Body=part)["ETag"]}
            for n, part in enumerate(parts, 1)
        ]
        client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": done})
        master = bytes.fromhex(MASTER_KEY.partition(":")[2])
        bodies = {"a/simple": body, "a/customer": body, "parts": b"".join(parts)}
        keys = {"a/simple": master, "a/customer": SSE_C["SSECustomerKey"], "parts": master}
        for key, expected in bodies.items():
            file = (server.directory / "bucket" / key).read_bytes()
            record, annex, stored, _, _ = nas_reader.read_file(file)
            external: Any = keys[key]
            opened, metadata = reader.read(record, annex, stored, "bucket", key, external)
            assert opened == expected
            assert key != "a/simple" or metadata["content-type"] == "text/x-mine"
