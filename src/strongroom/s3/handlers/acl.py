"""Access control lists: PutBucketAcl, PutObjectAcl. Everything belongs to one owner, who has full control: a list that
says just that (such as `private`, which many clients set) is accepted and changes nothing; any other is refused.
"""

from __future__ import annotations

from strongroom.s3.call import Answer, Call
from strongroom.s3.describe import check_acl_headers
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import OWNER, check_version
from strongroom.s3.shapes import (
    AccessControlPolicy,
    Grant,
    PutBucketAclRequest,
    PutObjectAclOutput,
    PutObjectAclRequest,
)
from strongroom.sealed.store import SealedStore


class AclHandlers:
    """Operations that set access control lists; those that read them are in :mod:`strongroom.s3.handlers.unset`."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects

    async def put_bucket_acl(self, call: Call, request: PutBucketAclRequest) -> Answer:
        """Accept a list that leaves a bucket to its owner."""
        await self._objects.bucket(call.bucket)
        _check(call, request.access_control_policy)
        return Answer()

    async def put_object_acl(self, call: Call, request: PutObjectAclRequest) -> Answer:
        """Accept a list that leaves an object to its owner."""
        check_version(request.version_id)
        await self._objects.stored(call.bucket, call.key)
        _check(call, request.access_control_policy)
        return Answer(PutObjectAclOutput())


def _check(call: Call, policy: AccessControlPolicy | None) -> None:
    """Accept a list, in headers or in a document, that leaves everything to the owner.

    Raises AccessControlListNotSupported, InvalidArgument; MissingSecurityHeader if there is no list.
    """
    check_acl_headers(call.request.headers)
    if policy is None:
        if "x-amz-acl" not in call.request.headers:
            raise S3Error("MissingSecurityHeader", MissingHeaderName="x-amz-acl")
    elif not policy.grants or not all(_is_owners(grant) for grant in policy.grants):
        raise S3Error("AccessControlListNotSupported")


def _is_owners(grant: Grant) -> bool:
    return grant.grantee is not None and grant.grantee.id == OWNER.id and grant.permission == "FULL_CONTROL"
