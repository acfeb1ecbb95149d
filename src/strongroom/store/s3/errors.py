"""The answers with which a backend refuses, and what they mean in the store protocol. Pure."""

from __future__ import annotations

from strongroom.store.errors import (
    BucketExists,
    BucketNotEmpty,
    ConditionFailed,
    NameRefused,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    PartChanged,
    Refused,
    StoreError,
    StoreFull,
    Unavailable,
)

# S3's error codes that have a counterpart in the store protocol.
_MEANINGS: dict[str, type[StoreError]] = {
    "NoSuchBucket": NoSuchBucket,
    "NoSuchKey": NoSuchObject,
    "NoSuchUpload": NoSuchUpload,
    "BucketAlreadyOwnedByYou": BucketExists,
    "BucketAlreadyExists": BucketExists,
    "BucketNotEmpty": BucketNotEmpty,
    "PreconditionFailed": ConditionFailed,
    "ConditionalRequestConflict": ConditionFailed,
    "InvalidPart": PartChanged,
    "KeyTooLongError": NameRefused,
    "XMinioInvalidObjectName": NameRefused,
    "XMinioStorageFull": StoreFull,
    "InsufficientStorage": StoreFull,
    "QuotaExceeded": StoreFull,
    "XMinioAdminBucketQuotaExceeded": StoreFull,
}

CREDENTIALS_REFUSED = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "InvalidTokenId",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
"""Codes of answers that refuse this server because of its credentials or its clock. They are not passed on: a client
would think that its own are meant, and give up, or set its clock."""

# What an answer without a document (to a HEAD, say) means.
_STATUSES = {
    301: "PermanentRedirect",
    304: "NotModified",
    307: "TemporaryRedirect",
    400: "BadRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "OperationAborted",
    412: "PreconditionFailed",
    416: "InvalidRange",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
"""Answers after which the same request may succeed ("Error retries and exponential backoff in AWS")."""

BETWEEN_FOLDERS = "ExistingObjectIsDirectory"
"""The code with which versitygw also refuses a name whose folder it removes at that moment, because it became empty."""

_FAULTS = RETRIED_STATUSES - {429}

_STATUSES_OF_FAULTS = {"InternalError": 500, "ServiceUnavailable": 503, "SlowDown": 503}

REDIRECTS = frozenset({"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "Redirect"})
"""Codes of answers that can mean: this bucket lies in another region."""


def code_of(status: int) -> str:
    """The error code of an answer that brings no document."""
    return _STATUSES.get(status, "ServiceUnavailable" if status >= 500 else "BadRequest")


def meaning(status: int, code: str, message: str, what: str) -> StoreError:
    """The error of the store protocol for an answer of the backend to ``what`` ("PUT bucket/key")."""
    if code in CREDENTIALS_REFUSED:
        return Unavailable(f"{what}: the backend refuses the credentials of this server: {code}: {message}")
    if status == 304:
        return Unavailable(f"{what}: the backend says that nothing was modified, which it was not asked")
    kind = _MEANINGS.get(code)
    if kind is not None:
        return kind(f"{what}: the backend answered {code}")
    return Refused(status, code, message, what)


def status_behind(code: str) -> int:
    """The status for the code of an error that came with status 200, as S3 sends it if a request takes long."""
    return _STATUSES_OF_FAULTS.get(code, 400)


def undecided(error: BaseException) -> bool:
    """Whether a request may have been, or may yet be, carried out despite its error: this attempt, or an earlier one
    (whose error is the cause of this one), got no answer, or one that reports a fault.
    """
    silent = isinstance(error, Unavailable) or (isinstance(error, Refused) and error.status in _FAULTS)
    return silent or (error.__cause__ is not None and undecided(error.__cause__))
