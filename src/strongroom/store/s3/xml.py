"""XML of the S3 protocol as a client has it: answers read, documents for requests written. Pure.

Answers come from the backend, which is not trusted more than any stranger: no DTD, no entities, bounded length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class BadAnswer(ValueError):
    """A document that the backend cannot have meant."""


class Node:
    """An element of an answer; names are looked up without their namespace."""

    def __init__(self, element: Element) -> None:
        self._element = element

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._element.tag).rpartition("}")[2]

    def all(self, name: str) -> Iterator[Node]:
        """Its children of this name."""
        return (node for child in self._element if (node := Node(child)).name == name)

    def texts(self) -> dict[str, str]:
        """The texts of its children by their names, in lower case."""
        return {Node(child).name.lower(): child.text or "" for child in self._element}

    def text(self, name: str, default: str | None = None) -> str:
        """The text of its child of this name. Raises BadAnswer where there is none and no default."""
        for node in self.all(name):
            return node._element.text or ""
        if default is None:
            raise BadAnswer(f"there is no {name}")
        return default

    def number(self, name: str) -> int:
        """The same as a number. Raises BadAnswer."""
        try:
            return int(self.text(name))
        except ValueError as error:
            raise BadAnswer(f"{name} is not a number") from error

    def moment(self, name: str) -> int:
        """The same as a time, in nanoseconds since the epoch. Raises BadAnswer."""
        try:
            moment = datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise BadAnswer(f"{name} is not a time") from error
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000) * 1_000_000

    def key(self, name: str, encoded: bool) -> str:
        """The same as an object's name, URL-encoded where the listing says so. Raises BadAnswer."""
        text = self.text(name)
        if not encoded:
            return text
        try:
            return unquote(text.replace("+", "%20"), errors="strict")
        except UnicodeDecodeError as error:
            raise BadAnswer(f"{name} is not a name") from error


def read(document: bytes) -> Node:
    """The root of an answer. Raises BadAnswer."""
    try:
        return Node(fromstring(document, forbid_dtd=True))
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise BadAnswer("it is not XML") from error


def read_error(document: bytes) -> tuple[str, str, str] | None:
    """Code, message and region of an error document; None where it is none."""
    try:
        root = read(document)
        if root.name != "Error":
            return None
        return root.text("Code"), root.text("Message", ""), root.text("Region", "")
    except BadAnswer:
        return None


def completion(parts: Iterable[tuple[int, str]]) -> bytes:
    """The body of CompleteMultipartUpload: numbers and ETags."""
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(etag)}&quot;</ETag></Part>"
        for number, etag in parts
    )
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{rows}</CompleteMultipartUpload>'.encode()


def deletion(keys: Iterable[str]) -> bytes:
    """The body of DeleteObjects; the answer names failures only."""
    rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f'<Delete xmlns="{_NAMESPACE}"><Quiet>true</Quiet>{rows}</Delete>'.encode()


def location(region: str) -> bytes:
    """The body of CreateBucket."""
    return (
        f'<CreateBucketConfiguration xmlns="{_NAMESPACE}"><LocationConstraint>{escape(region)}</LocationConstraint>'
        "</CreateBucketConfiguration>"
    ).encode()
