"""Everything that the sealed store and the layers below it raise on purpose, in one place for the layer above."""

from strongroom.kms.base import (
    KeyDisabled,
    KMSDenied,
    KMSError,
    KMSUnavailable,
    NoSuchKey,
    WrappedKeyInvalid,
)
from strongroom.sealed.errors import (
    CustomerKeyNeeded,
    CustomerKeyNotApplicable,
    CustomerKeyWrong,
    LegacyNotCovered,
    NoKMS,
    PreconditionFailed,
    SealedError,
)
from strongroom.store.base import (
    BucketExists,
    BucketNotEmpty,
    ConditionFailed,
    Damaged,
    NameRefused,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    PartChanged,
    StoreError,
    StoreFull,
)

__all__ = [
    "BucketExists",
    "BucketNotEmpty",
    "ConditionFailed",
    "CustomerKeyNeeded",
    "CustomerKeyNotApplicable",
    "CustomerKeyWrong",
    "Damaged",
    "KMSDenied",
    "KMSError",
    "KMSUnavailable",
    "KeyDisabled",
    "LegacyNotCovered",
    "NameRefused",
    "NoKMS",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchObject",
    "NoSuchUpload",
    "PartChanged",
    "PreconditionFailed",
    "SealedError",
    "StoreError",
    "StoreFull",
    "WrappedKeyInvalid",
]
