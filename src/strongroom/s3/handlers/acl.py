"""Access control lists: PutBucketAcl, PutObjectAcl. All belongs to one owner, who has full control; so a list that says
that is taken, and changes nothing (clients that care for ACLs set `private`), and any other is refused.
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
    """Operations that set access control lists; those that show them are with what is unset."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects

    async def put_bucket_acl(self, call: Call, request: PutBucketAclRequest) -> Answer:
        """Leave a bucket to its owner."""
        await self._objects.bucket(call.bucket)
        _check(call, request.access_control_policy)
        return Answer()

    async def put_object_acl(self, call: Call, request: PutObjectAclRequest) -> Answer:
        """Leave an object to its owner."""
        check_version(request.version_id)
        await self._objects.stored(call.bucket, call.key)
        _check(call, request.access_control_policy)
        return Answer(PutObjectAclOutput())


def _check(call: Call, policy: AccessControlPolicy | None) -> None:
    """Let pass what leaves all to the owner, be it said in headers or in a document.

    Raises AccessControlListNotSupported, InvalidArgument, MissingSecurityHeader where it is said in neither.
    """
    check_acl_headers(call.request.headers)
    if policy is None:
        if "x-amz-acl" not in call.request.headers:
            raise S3Error("MissingSecurityHeader", MissingHeaderName="x-amz-acl")
    elif not policy.grants or not all(_is_owners(grant) for grant in policy.grants):
        raise S3Error("AccessControlListNotSupported")


def _is_owners(grant: Grant) -> bool:
    return grant.grantee is not None and grant.grantee.id == OWNER.id and grant.permission == "FULL_CONTROL"
