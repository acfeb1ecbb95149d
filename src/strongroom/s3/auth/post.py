"""Browser uploads: reading a form, and checking it against the policy that was signed for it.

No I/O: bytes of the body go in, the form's fields come out, then the bytes of its file.

Source: "Browser-Based Uploads Using POST (AWS Signature Version 4)" in the Amazon S3 API reference.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from strongroom.s3.errors import S3Error
from strongroom.s3.request import Piece
from strongroom.sigv4.keys import (
    ALGORITHM,
    DEFAULT_REGION,
    SERVICE,
    TERMINATOR,
    Credentials,
    parse_credential,
    parse_timestamp,
    right_region,
    same_signature,
    signing_key,
)
from strongroom.sigv4.keys import signature as sign_text

MAX_FIELDS = 20 * 1024
"""The maximum bytes of everything before the file: the headers of parts and the values of fields."""

SIGNING = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
"""The fields that sign a form's policy."""

_MAX_BEFORE_FILE = 4 * MAX_FIELDS  # including the boundaries, and empty lines before the first one
_MAX_HEADS = 2000  # parts and headers of parts: more than MAX_FIELDS has room for, and few enough to be read at one go
_MAX_PART_HEADERS = 4096
_MAX_BOUNDARY = 70  # RFC 2046, section 5.1.1
_UNCHECKED = ("x-amz-signature", "file", "policy")
_UNCHECKED_PREFIX = "x-ignore-"


@dataclass(slots=True)
class PostForm:
    """What a form says before its file: the fields by their names in lower case, and the file's own name."""

    fields: dict[str, str] = field(default_factory=dict)
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class PostIdentity:
    """Who signed the form's policy, and how long its file may be (in bytes, both limits included; None: no limit)."""

    access_key: str
    min_length: int = 0
    max_length: int | None = None


def is_form(content_type: str) -> bool:
    """Whether this is the Content-Type of a form with a file."""
    return content_type.lower().startswith("multipart/form-data")


class FormDecoder:
    """Decodes the body of a form as it arrives. ``form`` is None until the file begins; it is complete then.

    Raises MalformedPOSTRequest, MaxPostPreDataLengthExceededError, InvalidArgument (a field that comes twice).
    """

    def __init__(self, content_type: str) -> None:
        if len(content_type) > _MAX_PART_HEADERS:
            raise S3Error("MalformedPOSTRequest")
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not 1 <= len(boundary or b"") <= _MAX_BOUNDARY:
            raise S3Error("MalformedPOSTRequest")
        assert boundary is not None
        self.form: PostForm | None = None
        self._reading = PostForm()
        self._header = (bytearray(), bytearray())
        self._headers: dict[str, bytes] = {}
        self._name = ""
        self._value = bytearray()
        self._in_file = self._after_file = False
        self._seen = self._fed = self._heads = 0
        self._pieces: list[bytes] = []
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._on_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._on_header(1, data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": lambda data, start, end: self._on_data(data[start:end]),
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: Piece) -> list[bytes]:
        """The bytes of the file that ``data`` holds, in order."""
        try:
            self._parser.write(bytes(data))
        except FormParserError as error:
            raise S3Error("MalformedPOSTRequest") from error
        self._fed += len(data)
        if self.form is None and self._fed > _MAX_BEFORE_FILE:  # not authenticated yet
            raise S3Error("MaxPostPreDataLengthExceededError")
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """The body has ended. Raises MalformedPOSTRequest if it was cut, IncorrectNumberOfFilesInPostRequest."""
        if not self._ended:
            raise S3Error("MalformedPOSTRequest")
        if self.form is None:
            raise S3Error("IncorrectNumberOfFilesInPostRequest")

    def _count(self, size: int) -> None:
        self._seen += size
        if self._seen > MAX_FIELDS:
            raise S3Error("MaxPostPreDataLengthExceededError")

    def _count_head(self) -> None:
        """Nothing of what follows the file is kept, but it takes its time, before anybody knows who sends it."""
        self._heads += 1
        if self._heads > _MAX_HEADS:
            raise S3Error("MalformedPOSTRequest")

    def _on_part_begin(self) -> None:
        self._count_head()
        self._headers = {}
        self._value = bytearray()
        self._after_file = self._after_file or self._in_file
        self._in_file = False

    def _on_header(self, which: int, data: bytes) -> None:
        self._header[which].extend(data)
        if len(self._header[which]) > _MAX_PART_HEADERS:
            raise S3Error("MaxPostPreDataLengthExceededError")

    def _on_header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header[0].clear()
        self._header[1].clear()
        self._count_head()
        if self._after_file:
            return  # nothing after the file is kept, however much of it there is
        self._headers[name.decode("latin-1").lower()] = value
        self._count(len(name) + len(value))

    def _on_headers_finished(self) -> None:
        if self._after_file:
            return
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._name = _text(options.get(b"name", b"")).lower()
        if not self._name:
            raise S3Error("MalformedPOSTRequest")
        if self._name == "file":
            self._reading.file_name = _text(options.get(b"filename", b""))
            self._in_file = True
            self.form = self._reading

    def _on_data(self, data: bytes) -> None:
        if self._after_file:
            return
        if self._in_file:
            self._pieces.append(data)
        else:
            self._count(len(data))
            self._value += data

    def _on_part_end(self) -> None:
        if self._after_file or self._in_file:
            return
        if self._name in self._reading.fields:
            raise S3Error("InvalidArgument", "POST requires exactly one value per form field.", ArgumentName=self._name)
        self._reading.fields[self._name] = _text(bytes(self._value))

    def _on_end(self) -> None:
        self._ended = True


def authenticate_form(
    form: PostForm, bucket: str, credentials: Credentials, region: str, now: datetime
) -> PostIdentity:
    """Verify the signature of a form's policy, then check the form against the policy.

    Raises AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch, InvalidPolicyDocument, InvalidArgument.
    """
    fields = form.fields
    if not fields.get("policy"):
        if any(fields.get(name) for name in SIGNING):
            raise missing_field("policy")
        raise S3Error("AccessDenied")  # the form is not signed at all
    access_key = _check_signature(fields, credentials, region)
    policy = _read_policy(fields["policy"])
    if now >= policy.expiration:
        raise S3Error("AccessDenied", "Invalid according to Policy: Policy expired.")
    return _check_conditions(form, bucket, policy.conditions, access_key)


def missing_field(name: str) -> S3Error:
    """The error that S3 answers if a form lacks a field."""
    return S3Error(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
        ArgumentName=name,
    )


def _check_signature(fields: Mapping[str, str], credentials: Credentials, region: str) -> str:
    missing = [name for name in SIGNING if not fields.get(name)]
    if missing:
        raise missing_field(missing[0])
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise S3Error("InvalidArgument", f"X-Amz-Algorithm only supports {ALGORITHM}.", ArgumentName="x-amz-algorithm")
    scope = parse_credential(fields["x-amz-credential"])
    moment = parse_timestamp(fields["x-amz-date"])
    if scope is None or moment is None or moment.strftime("%Y%m%d") != scope.day:
        raise S3Error(
            "InvalidArgument",
            "The credential or the date of the form is malformed.",
            ArgumentName="x-amz-credential" if scope is None else "x-amz-date",
        )
    if not right_region(scope, region) or (scope.service, scope.terminator) != (SERVICE, TERMINATOR):
        expected = region or DEFAULT_REGION
        raise S3Error("InvalidArgument", f"The credential of the form is not of the region '{expected}'.")
    secret = credentials.get(scope.access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=scope.access_key[:256])
    key = signing_key(scope.access_key, secret, scope.day, scope.region)
    if not same_signature(sign_text(key, fields["policy"]), fields["x-amz-signature"]):
        raise S3Error(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=scope.access_key,
            StringToSign=fields["policy"],
            SignatureProvided=fields["x-amz-signature"],
        )
    return scope.access_key


@dataclass(frozen=True, slots=True)
class _Policy:
    expiration: datetime
    conditions: list[Any]


def _read_policy(encoded: str) -> _Policy:
    try:
        document = json.loads(base64.b64decode(encoded, validate=True))
        expiration = datetime.fromisoformat(document["expiration"])
        conditions = document["conditions"]
        json.dumps(conditions, ensure_ascii=False).encode()  # fails on a lone surrogate, which no answer could show
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise S3Error("InvalidPolicyDocument", "Invalid Policy: it is not well-formed.") from error
    if not isinstance(conditions, list):
        raise S3Error("InvalidPolicyDocument", "Invalid Policy: 'conditions' is not a list.")
    return _Policy(expiration if expiration.tzinfo else expiration.replace(tzinfo=UTC), conditions)


def _check_conditions(form: PostForm, bucket: str, conditions: list[Any], access_key: str) -> PostIdentity:
    values = {**form.fields, "bucket": bucket}
    covered = set()
    least, most = 0, None
    for condition in conditions:
        operator, name, value = _read_condition(condition)
        if operator == "content-length-range":
            least, most = _length(name), _length(value)
            continue
        name = str(name).removeprefix("$").lower()
        covered.add(name)
        found = values.get(name, "")
        if not _holds(operator, name, found, str(value)):
            raise S3Error(
                "AccessDenied",
                f'Invalid according to Policy: Policy Condition failed: ["{operator}", "${name}", "{value}"]',
            )
    extra = [
        name
        for name in values
        if name not in covered and name not in _UNCHECKED and not name.startswith(_UNCHECKED_PREFIX)
    ]
    if extra:
        raise S3Error("AccessDenied", f"Invalid according to Policy: Extra input fields: {extra[0]}")
    return PostIdentity(access_key, least, most)


def _holds(operator: str, name: str, found: str, value: str) -> bool:
    if operator != "starts-with":
        return found == value
    # A Content-Type with commas is a list, and each of its items must match: browsers use the last one.
    listed = [item.strip() for item in found.split(",")] if name == "content-type" else [found]
    return all(item.startswith(value) for item in listed)


def _read_condition(condition: Any) -> tuple[str, Any, Any]:
    if isinstance(condition, dict) and len(condition) == 1:
        name, value = next(iter(condition.items()))
        if isinstance(value, str):
            return "eq", name, value
    elif isinstance(condition, list) and len(condition) == 3 and isinstance(condition[0], str):
        operator = condition[0].lower()
        if operator == "content-length-range":
            return operator, condition[1], condition[2]
        if operator in ("eq", "starts-with") and isinstance(condition[1], str) and isinstance(condition[2], str):
            return operator, condition[1], condition[2]
    raise S3Error("InvalidPolicyDocument", "Invalid Policy: a condition is malformed.")


def _length(value: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | str)
        or not str(value).isascii()
        or not str(value).isdigit()
    ):
        raise S3Error("InvalidPolicyDocument", "Invalid Policy: content-length-range is malformed.")
    if len(str(value)) > 18:
        raise S3Error("InvalidPolicyDocument", "Invalid Policy: content-length-range is malformed.")
    return int(value)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise S3Error("MalformedPOSTRequest") from None
