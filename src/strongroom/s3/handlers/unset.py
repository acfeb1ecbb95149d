"""Settings that buckets and objects do not have here: each is answered as AWS answers where it was never set.

Clients ask for them in passing, and take an unexpected error for a broken server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from strongroom.s3.call import Answer, Call
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import OWNER
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
    Owner,
)
from strongroom.sealed.store import SealedStore

# operation: the error that says it was never set
_ERRORS = {
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_ownership_controls": "OwnershipControlsNotFoundError",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_bucket_tagging": "NoSuchTagSet",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
    "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
}

# operation: the empty setting
_OUTPUTS: dict[str, Callable[[], object]] = {
    "get_bucket_accelerate_configuration": GetBucketAccelerateConfigurationOutput,
    "get_bucket_logging": GetBucketLoggingOutput,
    "get_bucket_notification_configuration": NotificationConfiguration,
    "get_bucket_request_payment": lambda: GetBucketRequestPaymentOutput(payer="BucketOwner"),
    "get_bucket_versioning": GetBucketVersioningOutput,
    "get_bucket_acl": lambda: GetBucketAclOutput(owner=_owner(), grants=_full_control()),
}

# operation on an object: the error, or the setting
_OBJECT_ERRORS = {
    "get_object_retention": "NoSuchObjectLockConfiguration",
    "get_object_legal_hold": "NoSuchObjectLockConfiguration",
}
_OBJECT_OUTPUTS: dict[str, Callable[[], object]] = {
    "get_object_acl": lambda: GetObjectAclOutput(owner=_owner(), grants=_full_control()),
}

Handler = Callable[[Call, object], Awaitable[Answer]]


def unset_handlers(objects: SealedStore) -> dict[str, Handler]:
    """A handler for each such operation, by name."""

    def answer(found: Callable[[Call], Awaitable[object]], error: str | None, output: Callable[[], object]) -> Handler:
        async def handler(call: Call, request: object) -> Answer:
            await found(call)
            if error is not None:
                raise S3Error(error, BucketName=call.bucket)
            return Answer(output())

        return handler

    async def bucket(call: Call) -> object:
        return await objects.bucket(call.bucket)

    async def thing(call: Call) -> object:
        return await objects.stored(call.bucket, call.key)

    return {
        **{name: answer(bucket, error, Answer) for name, error in _ERRORS.items()},
        **{name: answer(bucket, None, output) for name, output in _OUTPUTS.items()},
        **{name: answer(thing, error, Answer) for name, error in _OBJECT_ERRORS.items()},
        **{name: answer(thing, None, output) for name, output in _OBJECT_OUTPUTS.items()},
    }


def _owner() -> Owner:
    return Owner(id=OWNER.id, display_name=OWNER.display_name)


def _full_control() -> list[Grant]:
    grantee = Grantee(id=OWNER.id, display_name=OWNER.display_name, type="CanonicalUser")
    return [Grant(grantee=grantee, permission="FULL_CONTROL")]
