"""Multipart uploads of one part, for tests that are about what happens around them."""

from __future__ import annotations

from typing import Any


def upload_of_one_part(client: Any, bucket: str, key: str = "o", body: bytes = b"x", **asked: Any) -> tuple[Any, Any]:
    """An open upload, as its requests name it, and what its completion says of its one part.

    ``asked`` is what the upload is opened with; a client's key (SSE-C) goes with the part as well.
    """
    target: dict[str, Any] = {"Bucket": bucket, "Key": key}
    target["UploadId"] = client.create_multipart_upload(**target, **asked)["UploadId"]
    own_key = {name: value for name, value in asked.items() if name.startswith("SSECustomer")}
    etag = client.upload_part(**target, PartNumber=1, Body=body, **own_key)["ETag"]
    return target, {"Parts": [{"PartNumber": 1, "ETag": etag}]}
