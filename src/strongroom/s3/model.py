"""The S3 protocol, compiled at start from the service model: for each served operation a parser and a serializer.

A parser makes the operation's typed input from a request, a serializer makes a response from its typed output. Both are
tables and closures made once, so that requests need not walk the model. Errors in a request are answered as AWS does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from strongroom.dates import parse_http_date
from strongroom.s3 import shapes
from strongroom.s3.auth import is_form
from strongroom.s3.errors import S3Error
from strongroom.s3.operations import ROOTS, SERVED, UNSET
from strongroom.s3.request import HttpRequest
from strongroom.s3.routing import POST_OBJECT, Router, Target, target_of
from strongroom.s3.service_model import Member, OperationModel, Shape, known_members, operations
from strongroom.s3.xml import DECLARATION, NAMESPACE, compile_reader, compile_writer, escape, read_document

Parse = Callable[[HttpRequest, Target, bytes], Any]
Serialize = Callable[[Any], "Response"]
Convert = Callable[[str, str], Any]

_XMLNS = f' xmlns="{NAMESPACE}"'
_XML_TYPE = ("content-type", "application/xml")


@dataclass(slots=True)
class Response:
    """A complete response: the status, the headers, the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """A served operation. ``attribute`` names its handler. ``serialize`` takes None for an empty output."""

    name: str
    attribute: str
    parse: Parse
    serialize: Serialize


@dataclass(slots=True)
class Route:
    """The operation and target of a request; ``operation`` is None if it is not served."""

    name: str
    operation: Operation | None
    target: Target

    @property
    def bucket(self) -> str:
        """The bucket, or ""."""
        return self.target.bucket

    @property
    def key(self) -> str:
        """The key, or ""."""
        return self.target.key


class Model:
    """All operations of S3: routes to them, and parsers and serializers of those that are served."""

    def __init__(self) -> None:
        self._router = Router()
        self._operations = {op.name: _compile(op) for op in operations() if op.name in SERVED or op.name in UNSET}

    @property
    def served(self) -> Sequence[Operation]:
        """The operations that must have handlers."""
        return list(self._operations.values())

    def route(self, request: HttpRequest, domains: Sequence[str]) -> Route:
        """The operation and target of a request.

        Raises InvalidURI, KeyTooLongError, InvalidBucketName, MethodNotAllowed, PreconditionFailed.
        """
        target = target_of(request, domains)
        if _is_form(request, target):
            return Route(POST_OBJECT, None, target)
        selected = self._router.select(request, target.level)
        return Route(selected.name, self._operations.get(selected.name), target)


def compile_model() -> Model:
    """Compile the model, which takes some tens of milliseconds."""
    return Model()


def _is_form(request: HttpRequest, target: Target) -> bool:
    """Whether this is a browser upload. Raises PreconditionFailed if it can only be one, but has another type."""
    if request.method != "POST" or target.level != "bucket":
        return False
    if is_form(request.headers.get("content-type", "")):
        return True
    if request.query:
        return False  # DeleteObjects, say
    raise S3Error("PreconditionFailed", Condition="Bucket POST must be of the enclosure-type multipart/form-data")


def _compile(operation: OperationModel) -> Operation:
    return Operation(operation.name, operation.attribute, _parser(operation), _serializer(operation))


# -- parsing -------------------------------------------------------------------------------------------------------


def _parser(operation: OperationModel) -> Parse:
    shape = operation.input
    if shape is None:  # S3 has no such operation
        raise LookupError(f"{operation.name} has no input")
    make = getattr(shapes, shape.name)
    members = known_members(shape)
    headers = {m.wire.lower(): (m.attribute, _converter(m)) for m in members if m.location == "header"}
    query = {m.wire: (m.attribute, _converter(m)) for m in members if m.location == "querystring"}
    prefixed = next(((m.wire.lower(), m.attribute) for m in members if m.location == "headers"), None)
    required = [(m.attribute, m.wire, m.shape.kind == "list") for m in members if m.required and m.location != ""]
    with_bucket = any(m.wire == "Bucket" and m.location == "uri" for m in members)
    with_key = any(m.wire == "Key" and m.location == "uri" for m in members)
    read_body = _body_reader(shape)

    def parse(request: HttpRequest, target: Target, body: bytes) -> Any:
        values: dict[str, Any] = {}
        if with_bucket:
            values["bucket"] = target.bucket
        if with_key:
            values["key"] = target.key
        for name, text in request.headers.items():
            found = headers.get(name)
            if found is not None:
                values[found[0]] = found[1](name, text)
        if prefixed:
            prefix, attribute = prefixed
            values[attribute] = {
                name.removeprefix(prefix): text for name, text in request.headers.items() if name.startswith(prefix)
            }
        for name, text in request.query.items():
            found = query.get(name)
            if found is not None:
                values[found[0]] = found[1](name, text)
        for attribute, wire, is_list in required:
            if values.get(attribute) is None:  # None also for a number that was sent empty
                if is_list:  # its handler raises the error that S3 has for that
                    values[attribute] = []
                    continue
                raise S3Error("InvalidArgument", f"Missing required argument {wire}.", ArgumentName=wire)
        if read_body is not None:
            read_body(values, body)
        return make(**values)

    return parse


def _body_reader(shape: Shape) -> Callable[[dict[str, Any], bytes], None] | None:
    """A function that reads an XML body into the member that stands for it; None if the body is not XML."""
    member = next((m for m in shape.members if m.name == shape.payload), None)
    if member is None or member.shape.kind != "structure":
        return None
    payload, read = member, compile_reader(member.shape)

    def read_body(values: dict[str, Any], body: bytes) -> None:
        if body.strip():
            values[payload.attribute] = read(read_document(body, payload.wire))
        elif payload.required:
            raise S3Error("MissingRequestBodyError")

    return read_body


def _converter(member: Member) -> Convert:
    return _CONVERTERS.get(member.shape.kind, _text)


def _text(name: str, text: str) -> str:
    return text


def _integer(name: str, text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise S3Error(
            "InvalidArgument",
            f"Provided {name} not an integer or within integer range",
            ArgumentName=name,
            ArgumentValue=text[:256],
        )
    return int(text)


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise S3Error("InvalidArgument", f"{name} is neither true nor false", ArgumentName=name)
    return text.lower() == "true"


def _timestamp(name: str, text: str) -> datetime | None:
    """A time, in HTTP's form or ISO 8601; None, as if not sent, if it is malformed (RFC 9110, section 13.1.3)."""
    moment = parse_http_date(text)
    if moment is None:
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment


def _list(name: str, text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


_CONVERTERS: dict[str, Convert] = {
    "integer": _integer,
    "long": _integer,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "list": _list,
}

# -- serializing ---------------------------------------------------------------------------------------------------

_HEADER_FORMATS: dict[str, Callable[[Any], str]] = {
    "integer": str,
    "long": str,
    "boolean": lambda value: "true" if value else "false",
    "timestamp": lambda value: format_datetime(value, usegmt=True),
}


def _serializer(operation: OperationModel) -> Serialize:
    status, shape = operation.status, operation.output
    if operation.name == "GetBucketLocation":
        return _serialize_location
    if shape is None:
        return lambda output: Response(status, [], b"")
    headers = [
        (m.attribute, m.wire.lower(), _HEADER_FORMATS.get(m.shape.kind, str))
        for m in known_members(shape)
        if m.location == "header"
    ]
    write_body = _body_writer(operation, shape)

    def serialize(output: Any) -> Response:
        if output is None:
            return Response(status, [], b"")
        sent = [
            (name, form(value))
            for attribute, name, form in headers
            if (value := getattr(output, attribute)) is not None
        ]
        body = write_body(output) if write_body else b""
        if body:
            sent.append(_XML_TYPE)
        return Response(status, sent, body)

    return serialize


def _body_writer(operation: OperationModel, shape: Shape) -> Callable[[Any], bytes] | None:
    payload = next((m for m in shape.members if m.name == shape.payload), None)
    if payload is not None and payload.shape.kind == "structure":
        attribute = payload.attribute
        write_payload = compile_writer(payload.shape, payload.wire, _XMLNS)

        def write_member(output: Any) -> bytes:
            return _document(write_payload, getattr(output, attribute))

        return write_member
    if payload is not None or not any(not m.location for m in known_members(shape)):
        return None
    root = ROOTS.get(operation.name)
    if root is None:  # an unset operation whose only answer is an error
        return None
    write_root = compile_writer(shape, root, _XMLNS)
    return lambda output: _document(write_root, output)


def _document(write: Callable[[list[str], Any], None], value: Any) -> bytes:
    out = [DECLARATION]
    write(out, value)
    return "".join(out).encode()


def _serialize_location(output: Any) -> Response:
    """GetBucketLocation's body is a bare string, unlike what the model says."""
    location = output.location_constraint
    content = f">{escape(location)}</LocationConstraint>" if location else "/>"
    return Response(200, [_XML_TYPE], f"{DECLARATION}<LocationConstraint{_XMLNS}{content}".encode())
