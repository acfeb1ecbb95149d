"""Which operations of the S3 model are served, the XML root elements of their answers, and what is special about them.

Routes, shapes and ``docs/s3.md`` are made from these tables and from the model.
"""

from __future__ import annotations

# operation: remark for docs/s3.md
SERVED: dict[str, str] = {
    "AbortMultipartUpload": "",
    "CompleteMultipartUpload": "If-Match, If-None-Match; asked again, also at the same time, it answers the same",
    "CopyObject": "between any two kinds of encryption; bytes are shared where they need not change",
    "CreateBucket": "",
    "CreateMultipartUpload": "If-Match, If-None-Match: *, as it is opened: `mc` sends them here only",
    "DeleteBucket": "ends the bucket's open uploads, too",
    "DeleteBucketCors": "",
    "DeleteBucketEncryption": "",
    "DeleteObject": "If-Match",
    "DeleteObjectTagging": "",
    "DeleteObjects": "with `Content-MD5` or a checksum",
    "GetBucketCors": "",
    "GetBucketEncryption": "",
    "GetBucketLocation": "",
    "GetObject": "one range, also with `If-Range`; `partNumber`; `response-…` overrides; conditional",
    "GetObjectAttributes": "",
    "GetObjectTagging": "",
    "HeadBucket": "",
    "HeadObject": "as GetObject",
    "ListBuckets": "",
    "ListMultipartUploads": "",
    "ListObjectVersions": "each object as its one version, `null`",
    "ListObjects": "",
    "ListObjectsV2": "",
    "ListParts": "",
    "PutBucketAcl": "what leaves all to the owner (`private`), and changes nothing",
    "PutBucketCors": "for buckets without rules, `MINIO_API_CORS_ALLOW_ORIGIN` holds",
    "PutBucketEncryption": "`AES256`, `aws:kms`; not to block a type of encryption",
    "PutObject": "If-Match, If-None-Match: *; up to 5 GiB",
    "PutObjectAcl": "as PutBucketAcl",
    "PutObjectTagging": "",
    "UploadPart": "",
    "UploadPartCopy": "",
}

# operation: its answer, which is an error's code or a description of what strongroom.s3.handlers.unset answers
UNSET: dict[str, str] = {
    "GetBucketAccelerateConfiguration": "empty: not configured",
    "GetBucketAcl": "the owner has full control",
    "GetBucketLifecycleConfiguration": "NoSuchLifecycleConfiguration",
    "GetBucketLogging": "empty: disabled",
    "GetBucketNotificationConfiguration": "empty: none",
    "GetBucketOwnershipControls": "OwnershipControlsNotFoundError",
    "GetBucketPolicy": "NoSuchBucketPolicy",
    "GetBucketPolicyStatus": "NoSuchBucketPolicy",
    "GetBucketReplication": "ReplicationConfigurationNotFoundError",
    "GetBucketRequestPayment": "BucketOwner",
    "GetBucketTagging": "NoSuchTagSet",
    "GetBucketVersioning": "empty: never enabled",
    "GetBucketWebsite": "NoSuchWebsiteConfiguration",
    "GetObjectAcl": "the owner has full control",
    "GetObjectLegalHold": "InvalidRequest",
    "GetObjectLockConfiguration": "ObjectLockConfigurationNotFoundError",
    "GetObjectRetention": "InvalidRequest",
    "GetPublicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
}

# The model does not name the root elements of answers (SDKs do not look at them; other clients do). Source: the
# response syntax of each operation in the Amazon S3 API reference.
ROOTS: dict[str, str] = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}
