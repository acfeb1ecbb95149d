"""XML of the S3 protocol, from the client's side: answers are read, documents for requests written. Pure.

Answers come from the backend, which is trusted no more than any stranger: they may have no DTD, and so no entities of
their own, and their length and number of elements are bounded. The parser calls the tree builder with no Python in
between: a listing has thousands of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape

from strongroom.markup import WINDOW, has_endless_tag

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

_MAX_TAGS = 400_000
"""The most tags of a document, end tags included: twice as many as any sensible answer has."""

_LATEST = 253_402_300_799_999  # milliseconds since the epoch at the end of 9999


class BadAnswer(ValueError):
    """A document that the backend cannot have meant."""


class Node:
    """An element of an answer; names are those of the S3 API, which are written without a prefix."""

    def __init__(self, element: Element) -> None:
        self._element = element

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._element.tag)

    def all(self, name: str) -> list[Node]:
        """Its children of this name."""
        return [Node(child) for child in self._element.findall(name)]

    def texts(self) -> dict[str, str]:
        """The texts of its children by their names, in lower case."""
        return {child.tag.lower(): child.text or "" for child in self._element}

    def text(self, name: str, default: str | None = None) -> str:
        """The text of its child of this name. Raises BadAnswer if there is none and no default."""
        text = self._element.findtext(name, default)
        if text is None:
            raise BadAnswer(f"there is no {name}")
        return text

    def number(self, name: str, default: str | None = None) -> int:
        """The same as a number. Raises BadAnswer."""
        try:
            return int(self.text(name, default))
        except ValueError as error:
            raise BadAnswer(f"{name} is not a number") from error

    def moment(self, name: str, default: str | None = None) -> int:
        """The same as a time in nanoseconds since the epoch, clamped to the times that we know. Raises BadAnswer."""
        try:
            moment = datetime.fromisoformat(self.text(name, default))
        except ValueError as error:
            raise BadAnswer(f"{name} is not a time") from error
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, min(round(moment.timestamp() * 1000), _LATEST)) * 1_000_000

    def key(self, name: str, encoded: bool) -> str:
        """The same as an object's name, URL-decoded if the listing is ``encoded``. Raises BadAnswer."""
        text = self.text(name)
        if not encoded:
            return text
        try:
            return unquote(text.replace("+", "%20"), errors="strict")
        except UnicodeDecodeError as error:
            raise BadAnswer(f"{name} is not a name") from error


def read(document: bytes) -> Node:
    """The root of an answer. Raises BadAnswer."""
    return Node(_parse(document))


def texts_of_all(document: bytes, name: str, most: int) -> list[str]:
    """The texts of all elements of this name, wherever they are and with any prefix: all that any reader could take for
    one. Raises BadAnswer, also for more than ``most`` tags, and if there is an element in one of them: readers differ
    in what its text is.

    No tree is built: for a stranger's document it may take twenty times as much memory.
    """
    found: list[str] = []
    within: list[list[str] | None] = []

    def start(tag: str, attributes: object) -> None:
        if within and within[-1] is not None:
            raise BadAnswer("there is an element in a text")
        within.append([] if tag.rpartition(":")[2] == name else None)

    def end(tag: str) -> None:
        texts = within.pop()
        if texts is not None:
            found.append("".join(texts))

    def text(piece: str) -> None:
        if (texts := within[-1]) is not None:
            texts.append(piece)

    _feed(document, most, start, end, text)
    return found


def _parse(document: bytes) -> Element:
    tree = TreeBuilder()
    _feed(document, _MAX_TAGS, tree.start, tree.end, tree.data)
    return tree.close()


def _feed(
    document: bytes,
    most: int,
    start: Callable[[str, dict[str, str]], object],
    end: Callable[[str], object],
    text: Callable[[str], object],
) -> None:
    """Parse a document, calling ``start``, ``end`` and ``text``. Raises BadAnswer."""
    if document.count(b"<") > most:
        raise BadAnswer("it has too many elements")
    if has_endless_tag(document):
        raise BadAnswer("there is an endless tag in it")
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        for at in range(0, len(document), WINDOW):  # in windows, so that other threads get a turn
            parser.Parse(document[at : at + WINDOW], False)
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: an unknown encoding
        raise BadAnswer("it is not XML") from error


def _refuse(*declared: object) -> None:
    raise BadAnswer("it declares a document type")


def read_error(document: bytes) -> tuple[str, str, str] | None:
    """Code, message and region of an error document; None if it is no such document."""
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
