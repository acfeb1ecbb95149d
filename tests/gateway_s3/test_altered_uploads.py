"""Open uploads whose record the storage alters, seen by a gateway that did not open them itself."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.store.s3.metadata import HiddenRecord, decode_hidden
from tests.backends import Backend
from tests.customer_keys import SSE_C
from tests.gateway_s3.conftest import Gateway
from tests.http.raw import error_of
from tests.storage import files_with

NEEDLE = b"a sentence that must not be found on the backend "
LARGE = NEEDLE * (6 * 1024**2 // len(NEEDLE))
SSE_S3: dict[str, Any] = {"ServerSideEncryption": "AES256"}
DAMAGED = ("InternalError", 500)


@pytest.mark.parametrize("auto", ["on", None], ids=["everything", "what-asks"])
@pytest.mark.parametrize("encryption", [SSE_S3, SSE_C], ids=["SSE-S3", "SSE-C"])
@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_parts_of_an_upload_whose_record_was_made_plain_are_not_stored_in_plaintext(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    bucket_name: str,
    kind: str,
    encryption: dict[str, Any],
    auto: str | None,
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": auto}
    first, second = gateway(backend, settings).client(), gateway(backend, settings).client()
    raw = backend.client()
    first.create_bucket(Bucket=bucket_name)
    key = encryption if "SSECustomerKey" in encryption else {}
    target: Any = {"Bucket": bucket_name, "Key": "o"}
    target["UploadId"] = first.create_multipart_upload(**target, **encryption)["UploadId"]
    etag = first.upload_part(**target, PartNumber=1, Body=LARGE, **key)["ETag"]
    lying = {"Bucket": bucket_name, "Key": f".strongroom.sys/uploads/{target['UploadId']}/record"}
    hidden = decode_hidden(raw.get_object(**lying)["Body"].read())
    plain = {":etag": b"", "@backend": hidden.record["@backend"]}
    raw.put_object(**lying, Body=HiddenRecord(hidden.key, hidden.modified, plain).encode())
    for body in (NEEDLE, LARGE):
        for keys in ({}, key):
            assert error_of(second.upload_part, **target, PartNumber=2, Body=body, **keys) == DAMAGED
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    assert error_of(second.complete_multipart_upload, **target, MultipartUpload=parts) == DAMAGED
    assert error_of(second.head_object, Bucket=bucket_name, Key="o")[1] == 404
    assert files_with(backend.data, NEEDLE) == []
    second.abort_multipart_upload(**target)


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_plain_upload_goes_on_at_another_gateway(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
    first, second = gateway(backend, settings).client(), gateway(backend, settings).client()
    first.create_bucket(Bucket=bucket_name)
    target: Any = {"Bucket": bucket_name, "Key": "o"}
    target["UploadId"] = first.create_multipart_upload(**target)["UploadId"]
    body = bytes(5 * 1024**2)
    etags = [
        client.upload_part(**target, PartNumber=number, Body=piece)["ETag"]
        for number, (client, piece) in enumerate([(second, body), (first, body), (second, b"end")], 1)
    ]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    second.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    for client in (first, second, backend.client()):
        assert client.get_object(Bucket=bucket_name, Key="o")["Body"].read() == 2 * body + b"end"
