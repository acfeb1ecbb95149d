"""Settings that buckets and objects do not have here: each is answered as AWS does if it was never set.

Clients read them in passing, and take an unexpected error for a broken server.
"""

from __future__ import annotations

from collections.abc import Callable

from strongroom.s3.call import Answer, Call, Handler
from strongroom.s3.describe import NO_OBJECT_LOCK
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import OWNER, check_version
from strongroom.s3.operations import UNSET
from strongroom.s3.shapes import (
    GetBucketAccelerateConfigurationOutput,
    GetBucketAclOutput,
    GetBucketLoggingOutput,
    GetBucketRequestPaymentOutput,
    GetBucketVersioningOutput,
    GetObjectAclOutput,
    Grant,
    Grantee,
    NotificationConfiguration,
)
from strongroom.sealed.store import SealedStore

# operation: the answer if the setting was never made; operations that are not listed answer with an error then
_OUTPUTS: dict[str, Callable[[], object]] = {
    "GetBucketAccelerateConfiguration": GetBucketAccelerateConfigurationOutput,
    "GetBucketAcl": lambda: GetBucketAclOutput(owner=OWNER, grants=_full_control()),
    "GetBucketLogging": GetBucketLoggingOutput,
    "GetBucketNotificationConfiguration": NotificationConfiguration,
    "GetBucketRequestPayment": lambda: GetBucketRequestPaymentOutput(payer="BucketOwner"),
    "GetBucketVersioning": GetBucketVersioningOutput,
    "GetObjectAcl": lambda: GetObjectAclOutput(owner=OWNER, grants=_full_control()),
}


def unset_handler(objects: SealedStore, operation: str) -> Handler:
    """The handler of one of the operations in UNSET."""
    output = _OUTPUTS.get(operation)

    async def handler(call: Call, request: object) -> Answer:
        if call.key:
            check_version(call.request.query.get("versionId"))
            await objects.stored(call.bucket, call.key)
        else:
            await objects.bucket(call.bucket)
        if output is None:
            message = NO_OBJECT_LOCK if call.key else None
            raise S3Error(UNSET[operation], message, BucketName=call.bucket)
        return Answer(output())

    return handler


def _full_control() -> list[Grant]:
    grantee = Grantee(id=OWNER.id, display_name=OWNER.display_name, type="CanonicalUser")
    return [Grant(grantee=grantee, permission="FULL_CONTROL")]
