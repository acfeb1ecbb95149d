"""Translates what the layers below raise to S3's errors, with one table."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping

from strongroom.s3.errors import S3Error
from strongroom.s3.request import HttpRequest
from strongroom.sealed import faults as below

log = logging.getLogger("strongroom.s3")

_STORED_WITH_SSE = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to"
    " retrieve the object."
)

_WRONG_KEY = (  # clients look for this text, to tell their users
    "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
)

_TOO_MANY = (errno.EMFILE, errno.ENFILE)
"""No file or socket can be opened until others are closed: clients should wait and try again."""

# Class, S3's code and message (None: S3's standard text), and whether to log it for the operator. The first match wins.
_TABLE: tuple[tuple[type[Exception], str, str | None, bool], ...] = (
    (below.NoSuchBucket, "NoSuchBucket", None, False),
    (below.BucketExists, "BucketAlreadyOwnedByYou", None, False),
    (below.BucketNotEmpty, "BucketNotEmpty", None, False),
    (below.NoSuchObject, "NoSuchKey", None, False),
    (below.NoSuchUpload, "NoSuchUpload", None, False),
    (below.PartChanged, "InvalidPart", None, False),
    (below.PreconditionFailed, "PreconditionFailed", None, False),
    (below.ConditionFailed, "PreconditionFailed", None, False),
    (below.NameTooLong, "KeyTooLongError", None, False),
    (below.ParentIsObject, "XMinioParentIsObject", None, False),
    (below.ObjectIsFolder, "XMinioObjectExistsAsDirectory", None, False),
    (below.Forbidden, "AccessDenied", None, True),
    (below.StoreFull, "XMinioStorageFull", None, True),
    (below.Damaged, "InternalError", "The stored object is damaged.", True),
    (below.NoKMS, "NotImplemented", "Server side encryption specified but KMS is not configured.", False),
    (
        below.UnencryptedUpload,
        "InvalidRequest",
        "The upload was begun without encryption, which everything has to have by now. Begin it anew.",
        False,
    ),
    (below.CustomerKeyNeeded, "InvalidRequest", _STORED_WITH_SSE, False),
    (
        below.CustomerKeyNotApplicable,
        "InvalidRequest",
        "The encryption parameters are not applicable to this object.",
        False,
    ),
    (below.CustomerKeyWrong, "AccessDenied", _WRONG_KEY, False),
    (below.KeyDisabled, "KMS.DisabledException", None, True),
    (below.NoSuchKey, "KMS.NotFoundException", None, True),
    (below.KMSDenied, "AccessDenied", "The KMS denies access to the master key.", True),
    (below.WrappedKeyInvalid, "AccessDenied", "The data key of the object does not open with this master key.", True),
    (below.ForeignKMS, "AccessDenied", "The bucket is written to with another KMS than this gateway's.", True),
    (below.CheckDamaged, "AccessDenied", "The check value of the bucket's KMS is damaged.", True),
    (below.ObjectChanged, "ConditionalRequestConflict", "The object was replaced meanwhile. Try again.", False),
    (below.Unavailable, "ServiceUnavailable", "The storage behind this server is not available. Try again.", True),
    (below.KMSUnavailable, "ServiceUnavailable", "The KMS is not available. Try again.", True),
)


# What S3's errors name besides their code, and the field of a request (:func:`about`) that has it.
_NAMED = {
    "BucketAlreadyOwnedByYou": ("BucketName", "bucket"),
    "BucketNotEmpty": ("BucketName", "bucket"),
    "NoSuchBucket": ("BucketName", "bucket"),
    "NoSuchKey": ("Key", "key"),
}


def about(request_id: str, operation: str, bucket: str, key: str) -> dict[str, str]:
    """The fields of a log line that say which request and object it is about; those that are not known are left out."""
    fields = {"request_id": request_id, "operation": operation, "bucket": bucket, "key": key}
    return {name: value for name, value in fields.items() if value}


def translate(error: Exception, request: HttpRequest, fields: Mapping[str, str]) -> S3Error:
    """The S3 error for what came up during a request. What no layer raises on purpose, and the disk does not explain,
    is a bug: an InternalError, which is logged with its traceback.

    What the operator must know is logged, with ``fields`` (see :func:`about`).
    """
    if isinstance(error, S3Error):
        return error
    if isinstance(error, below.LegacyNotCovered):
        return S3Error("NotImplemented", str(error))
    if isinstance(error, below.MetadataRefused | below.ContextRefused):
        return S3Error("InvalidArgument", str(error))
    if isinstance(error, below.NameReserved):
        return S3Error("AccessDenied", str(error))
    if isinstance(error, below.Refused):
        log.warning("%s: %s", error.code, error, extra=fields)
        return S3Error.relayed(error.status, error.code, error.message)
    for kind, code, message, report in _TABLE:
        if isinstance(error, kind):
            if report:
                log.warning("%s: %s", code, error, extra=fields)
            return S3Error(code, message, **_details(code, request, fields))
    if isinstance(error, below.NameRefused):
        return S3Error("XMinioInvalidObjectName", str(error))
    if isinstance(error, OSError) and error.errno in _TOO_MANY:
        log.warning("SlowDown: %s", error.strerror, extra=fields)
        return S3Error("SlowDown")
    if fault := below.index_fault(error):
        log.warning("InternalError: %s", fault, extra=fields)
        return S3Error("InternalError", "The index of this server cannot be read or written.")
    log.error("%s %s failed", request.method, request.raw_path, exc_info=error, extra=fields)
    return S3Error("InternalError")


def _details(code: str, request: HttpRequest, fields: Mapping[str, str]) -> dict[str, str]:
    """What an error names besides its code: the bucket or key that it is about, or the condition that does not hold.
    Of a copy it is not known whether the error is about the source.
    """
    headers = request.headers
    if code == "PreconditionFailed":
        return {"Condition": "If-Match" if "if-match" in headers else "If-None-Match"}
    if code in _NAMED and "x-amz-copy-source" not in headers:
        element, field = _NAMED[code]
        return {element: fields[field]} if field in fields else {}
    return {}
