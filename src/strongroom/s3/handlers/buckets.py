"""Buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, default encryption, CORS."""

from __future__ import annotations

from strongroom.s3 import cors
from strongroom.s3.call import Answer, Call
from strongroom.s3.cors import CrossOrigin
from strongroom.s3.describe import check_acl_headers, moment
from strongroom.s3.encryption import kms_key_id
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import OWNER
from strongroom.s3.routing import valid_new_bucket_name
from strongroom.s3.shapes import (
    Bucket,
    CreateBucketOutput,
    CreateBucketRequest,
    DeleteBucketCorsRequest,
    DeleteBucketEncryptionRequest,
    DeleteBucketRequest,
    GetBucketCorsOutput,
    GetBucketCorsRequest,
    GetBucketEncryptionOutput,
    GetBucketEncryptionRequest,
    GetBucketLocationOutput,
    GetBucketLocationRequest,
    HeadBucketOutput,
    HeadBucketRequest,
    ListBucketsOutput,
    ListBucketsRequest,
    PutBucketCorsRequest,
    PutBucketEncryptionRequest,
    ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
)
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import Protection
from strongroom.sealed.store import SealedStore

MAX_BUCKETS = 10_000
"""Buckets in a page of ListBuckets, and in all (S3 User Guide, "Bucket quotas")."""

_OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
"""All accepted: there is only one owner, who owns everything under each of them."""

_ALGORITHMS = {Kind.SSE_S3: "AES256", Kind.SSE_KMS: "aws:kms"}


class BucketHandlers:
    """Operations on buckets. ``region`` is the server's; with ``any_location``, CreateBucket may name any other, too.
    ``cross_origin`` is told when a bucket's CORS rules change.
    """

    def __init__(self, objects: SealedStore, region: str, any_location: bool, cross_origin: CrossOrigin) -> None:
        self._objects = objects
        self._region = region
        self._any_location = any_location
        self._cross_origin = cross_origin

    async def list_buckets(self, call: Call, request: ListBucketsRequest) -> Answer:
        """The buckets, by name."""
        limit = MAX_BUCKETS if request.max_buckets is None else request.max_buckets
        if not 1 <= limit <= MAX_BUCKETS:
            raise S3Error(
                "InvalidArgument",
                f"Argument max-buckets must be an integer between 1 and {MAX_BUCKETS}",
                ArgumentName="max-buckets",
                ArgumentValue=str(limit)[:64],
            )
        prefix, after = request.prefix or "", request.continuation_token or ""
        if request.bucket_region not in (None, "", self._region):
            buckets = []
        else:
            buckets = [b for b in await self._objects.buckets() if b.name.startswith(prefix) and b.name > after]
        page = buckets[:limit]
        output = ListBucketsOutput(
            buckets=[Bucket(name=bucket.name, creation_date=moment(bucket.created)) for bucket in page],
            owner=OWNER,
            prefix=request.prefix,
        )
        if len(buckets) > len(page):
            output.continuation_token = page[-1].name
        return Answer(output)

    async def create_bucket(self, call: Call, request: CreateBucketRequest) -> Answer:
        """Make a bucket."""
        if not valid_new_bucket_name(call.bucket):
            raise S3Error("InvalidBucketName", BucketName=call.bucket[:256])
        configuration = request.create_bucket_configuration
        location = configuration.location_constraint if configuration else None
        if location not in (None, "", self._region) and not self._any_location:
            raise S3Error("InvalidLocationConstraint", LocationConstraint=(location or "")[:256])
        if request.object_lock_enabled_for_bucket:
            raise S3Error("NotImplemented", "Object lock is not implemented.")
        check_acl_headers(call.request.headers)
        if request.object_ownership not in (None, *_OWNERSHIPS):
            raise S3Error(
                "InvalidArgument",
                "Invalid x-amz-object-ownership header",
                ArgumentName="x-amz-object-ownership",
                ArgumentValue=request.object_ownership[:256],
            )
        if configuration and configuration.tags:
            raise S3Error("NotImplemented", "Tags of buckets are not implemented.")
        if len(await self._objects.buckets()) >= MAX_BUCKETS:
            raise S3Error("TooManyBuckets")
        await self._objects.create_bucket(call.bucket)
        self._cross_origin.forget(call.bucket)  # one of this name may have been removed elsewhere
        return Answer(CreateBucketOutput(location=f"/{call.bucket}"))

    async def head_bucket(self, call: Call, request: HeadBucketRequest) -> Answer:
        """Check that the bucket exists."""
        await self._objects.bucket(call.bucket)
        return Answer(HeadBucketOutput(bucket_region=self._region))

    async def delete_bucket(self, call: Call, request: DeleteBucketRequest) -> Answer:
        """Remove an empty bucket."""
        await self._objects.delete_bucket(call.bucket)
        self._cross_origin.forget(call.bucket)
        return Answer()

    async def get_bucket_location(self, call: Call, request: GetBucketLocationRequest) -> Answer:
        """The region; us-east-1 is written as an empty element."""
        await self._objects.bucket(call.bucket)
        return Answer(
            GetBucketLocationOutput(location_constraint=None if self._region == "us-east-1" else self._region)
        )

    async def get_bucket_encryption(self, call: Call, request: GetBucketEncryptionRequest) -> Answer:
        """How the bucket encrypts objects whose upload does not say how."""
        protection = await self._objects.default_encryption(call.bucket)
        if protection is None:
            raise S3Error("ServerSideEncryptionConfigurationNotFoundError", BucketName=call.bucket)
        default = ServerSideEncryptionByDefault(sse_algorithm=_ALGORITHMS[protection.kind])
        default.kms_master_key_id = protection.key_id or None
        rule = ServerSideEncryptionRule(
            apply_server_side_encryption_by_default=default, bucket_key_enabled=bool(protection.bucket_key)
        )
        configuration = ServerSideEncryptionConfiguration(rules=[rule])
        return Answer(GetBucketEncryptionOutput(server_side_encryption_configuration=configuration))

    async def put_bucket_encryption(self, call: Call, request: PutBucketEncryptionRequest) -> Answer:
        """Set how the bucket encrypts objects whose upload does not say how: AES256, or aws:kms with a master key."""
        rules = request.server_side_encryption_configuration.rules
        blocked = [kind for rule in rules if (types := rule.blocked_encryption_types) for kind in types.encryption_type]
        if any(kind != "NONE" for kind in blocked):
            raise S3Error("NotImplemented", "No type of encryption can be blocked for a bucket.")
        default = rules[0].apply_server_side_encryption_by_default if len(rules) == 1 else None
        if default is None:
            raise S3Error("MalformedXML")
        bucket_key = bool(rules[0].bucket_key_enabled)
        key_id = kms_key_id((default.kms_master_key_id or "").encode())
        if default.sse_algorithm == "aws:kms":
            protection = Protection(Kind.SSE_KMS, key_id=key_id, bucket_key=bucket_key)
        elif default.sse_algorithm == "aws:kms:dsse":
            raise S3Error("NotImplemented", f"Server-side encryption with {default.sse_algorithm} is not implemented.")
        elif default.sse_algorithm != "AES256":
            raise S3Error("MalformedXML")
        elif key_id:
            raise S3Error(
                "InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"
            )
        else:
            protection = Protection(Kind.SSE_S3, bucket_key=bucket_key)
        await self._objects.set_default_encryption(call.bucket, protection)
        return Answer()

    async def delete_bucket_encryption(self, call: Call, request: DeleteBucketEncryptionRequest) -> Answer:
        """Encrypt only the objects whose upload asks for it (or that auto-encryption covers)."""
        await self._objects.set_default_encryption(call.bucket, None)
        return Answer()

    async def get_bucket_cors(self, call: Call, request: GetBucketCorsRequest) -> Answer:
        """Which web pages may send requests to the bucket."""
        document = await self._objects.cors(call.bucket)
        if document is None:
            raise S3Error("NoSuchCORSConfiguration", BucketName=call.bucket)
        return Answer(GetBucketCorsOutput(cors_rules=cors.decode(document).cors_rules))

    async def put_bucket_cors(self, call: Call, request: PutBucketCorsRequest) -> Answer:
        """Set which web pages may send requests to the bucket."""
        await self._set_cors(call.bucket, cors.encode(request.cors_configuration))
        return Answer()

    async def delete_bucket_cors(self, call: Call, request: DeleteBucketCorsRequest) -> Answer:
        """Remove the bucket's rules, so that the server's setting applies again."""
        await self._set_cors(call.bucket, None)
        return Answer()

    async def _set_cors(self, bucket: str, document: bytes | None) -> None:
        await self._objects.set_cors(bucket, document)
        self._cross_origin.forget(bucket)
