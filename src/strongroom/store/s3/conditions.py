"""Whether the backend checks the conditions of writes. Others may ignore some of them, and a condition that is ignored
looks like one that is fulfilled.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from strongroom.store.errors import NoSuchObject, StoreError
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client
from strongroom.store.s3.errors import undecided
from strongroom.store.s3.messages import Request

_log = logging.getLogger("strongroom.store.s3")

_NO_ETAG = "0" * 32


async def checks_writes(client: Client, bucket: str) -> bool:
    """Whether the backend is known to check all conditions of writes. MinIO does so since September 2025 only. It does
    not say which release it is, so it is asked, once.
    """
    if not client.is_minio:
        return client.checks_copies
    if client.minio_checks_writes is None:
        with suppress(StoreError, xml.BadAnswer):
            client.minio_checks_writes = await _checks_completions(client, bucket)
            if not client.minio_checks_writes:
                _log.warning("this MinIO ignores conditions of writes: a newer one, of September 2025 on, heeds them")
    return bool(client.minio_checks_writes)


async def _checks_completions(client: Client, bucket: str) -> bool:
    """Whether the backend, asked to complete an upload that lacks its part, and only if an object is there that is not,
    complains of the object. Raises StoreError, BadAnswer.
    """
    key = names.put_name(names.new_id())
    opened = await client.send(Request("POST", bucket, key, [("uploads", "")], again=False))
    upload = [("uploadId", xml.read(opened.body).text("UploadId"))]
    body = xml.completion([(1, _NO_ETAG)])
    try:
        await client.send(Request("POST", bucket, key, upload, {"if-match": f'"{_NO_ETAG}"'}, body))
    except StoreError as error:
        if undecided(error):
            raise
        return isinstance(error, NoSuchObject)
    finally:
        with suppress(StoreError):  # MinIO drops it after a day
            await client.send(Request("DELETE", bucket, key, upload))
    return False
