"""XML of the S3 protocol: readers and writers, compiled once from shapes of the service model to plain functions.

A writer appends text to a list; a reader makes a shape's dataclass from a parsed element. Documents from clients may be
hostile: DTDs and entities are refused, the number of elements is bounded, and the caller has to bound the length.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from strongroom.markup import has_endless_tag
from strongroom.s3 import shapes
from strongroom.s3.errors import S3Error
from strongroom.s3.service_model import Member, Shape, known_members

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
MAX_LIST = 10_000
"""The maximum number of elements in a request's list: the parts in CompleteMultipartUpload are the longest one."""
MAX_ELEMENTS = 20 * MAX_LIST
"""The maximum number of elements in a request's document: a part with all possible checksums has fewer than 20. An
element takes a hundred times as many bytes in memory as in the document.
"""

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_XSI_TYPE = f"{{{_XSI}}}type"
_SPECIAL = re.compile(r"[&<>\"\x00-\x08\x0b-\x1f\x7f\ufffe\uffff\r\n\t]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class Written(list[Any]):
    """A list for a writer whose items are XML already: each is the text of one complete element."""


Write = Callable[[list[str], Any], None]
Read = Callable[[Element], Any]


def escape(text: str) -> str:
    """Escape text for XML. Control characters become character references, as in AWS's (XML 1.0 has no better way)."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def escape_all(texts: Sequence[str]) -> Sequence[str]:
    """:func:`escape` for many texts. One search finds out if none of them needs it."""
    return [escape(text) for text in texts] if _SPECIAL.search("".join(texts)) else texts


def _reference(match: re.Match[str]) -> str:
    character = match[0]
    return _ESCAPES.get(character) or f"&#x{ord(character):x};"


def format_moment(moment: datetime) -> str:
    """A time in XML: ISO 8601, UTC, milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_document(body: bytes, root: str) -> Element:
    """The root element of a client's document. Raises MalformedXML."""
    if has_endless_tag(body):
        raise S3Error("MalformedXML")
    try:
        parser = DefusedXMLParser(target=_Bounded(), forbid_dtd=True)
        parser.feed(body)
        element: Element = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise S3Error("MalformedXML") from error
    if _local(element) != root:
        raise S3Error("MalformedXML")
    return element


class _Bounded(TreeBuilder):
    """Builds up to :data:`MAX_ELEMENTS` elements, then raises ValueError."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MAX_ELEMENTS

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many elements")
        return super().start(tag, attrs)


# -- writing -------------------------------------------------------------------------------------------------------

_FORMATS: dict[str, Callable[[Any], str]] = {
    "string": escape,
    "character": escape,
    "integer": str,
    "long": str,
    "boolean": lambda value: "true" if value else "false",
    "timestamp": format_moment,
    "blob": lambda value: base64.b64encode(value).decode(),
}


def compile_writer(shape: Shape, name: str, attributes: str = "") -> Write:
    """A function that writes a value of ``shape`` as the element ``name``, with further XML ``attributes``."""
    if shape.kind == "structure":
        return _structure_writer(shape, name, attributes)
    if shape.kind == "list":
        return _list_writer(shape, name)
    opening, closing, text = f"<{name}{attributes}>", f"</{name}>", _FORMATS[shape.kind]

    def write(out: list[str], value: Any) -> None:
        out.append(f"{opening}{text(value)}{closing}")

    return write


def _structure_writer(shape: Shape, name: str, attributes: str) -> Write:
    scalars, nested, attribute = [], [], None
    for member in known_members(shape):
        if member.location:
            continue
        if member.xml_attribute:
            attribute = member.attribute
        elif member.shape.kind in _FORMATS:
            opening, closing = f"<{member.wire}>", f"</{member.wire}>"
            scalars.append((member.attribute, opening, closing, _FORMATS[member.shape.kind]))
        else:
            nested.append((member.attribute, compile_writer(member.shape, member.wire)))
    closing_tag = f"</{name}>"

    def write(out: list[str], value: Any) -> None:
        kind = f' xmlns:xsi="{_XSI}" xsi:type="{getattr(value, attribute)}"' if attribute else ""
        text = f"<{name}{attributes}{kind}>"
        for attr, opening, closing, form in scalars:
            item = getattr(value, attr)
            if item is not None:
                text += f"{opening}{form(item)}{closing}"
        out.append(text)
        for attr, write_item in nested:
            item = getattr(value, attr)
            if item is not None:
                write_item(out, item)
        out.append(closing_tag)

    return write


def _list_writer(shape: Shape, name: str) -> Write:
    if shape.flattened:
        write_item = compile_writer(shape.element, name)

        def write_flat(out: list[str], value: Any) -> None:
            if isinstance(value, Written):
                out.extend(value)
                return
            for item in value:
                write_item(out, item)

        return write_flat
    write_item = compile_writer(shape.element, shape.element_name)

    def write(out: list[str], value: Any) -> None:
        out.append(f"<{name}>")
        for item in value:
            write_item(out, item)
        out.append(f"</{name}>")

    return write


# -- reading -------------------------------------------------------------------------------------------------------


def _integer(text: str) -> int:
    if not re.fullmatch(r"\s*-?\d{1,18}\s*", text, re.ASCII):
        raise S3Error("MalformedXML")
    return int(text)


def _boolean(text: str) -> bool:
    value = text.strip().lower()
    if value not in ("true", "false", "1", "0"):
        raise S3Error("MalformedXML")
    return value in ("true", "1")


def _timestamp(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise S3Error("MalformedXML") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "character": str,
    "integer": _integer,
    "long": _integer,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "blob": str.encode,
}


def compile_reader(shape: Shape) -> Read:
    """A function that makes a value of ``shape`` from its element. It raises MalformedXML."""
    if shape.kind == "structure":
        return _structure_reader(shape)
    parse = _PARSERS[shape.kind]

    def read(element: Element) -> Any:
        if len(element):
            raise S3Error("MalformedXML")
        return parse(element.text or "")

    return read


def _structure_reader(shape: Shape) -> Read:
    make = getattr(shapes, shape.name)
    known = [member for member in known_members(shape) if not member.location]
    members = {member.wire: (member, _member_reader(member)) for member in known if not member.xml_attribute}
    attribute = next((member.attribute for member in known if member.xml_attribute), None)
    required = [member.attribute for member in known if member.required]

    def read(element: Element) -> Any:
        values: dict[str, Any] = {}
        if attribute is not None and _XSI_TYPE in element.attrib:
            values[attribute] = element.attrib[_XSI_TYPE]
        for child in element:
            found = members.get(_local(child))
            if found is None:
                continue
            member, take = found
            if member.shape.kind == "list":
                items = values.setdefault(member.attribute, [])
                items.extend(take(child))
                if len(items) > MAX_LIST:
                    raise S3Error("MalformedXML")
            else:
                values[member.attribute] = take(child)
        if any(name not in values for name in required):
            raise S3Error("MalformedXML")
        return make(**values)

    return read


def _member_reader(member: Member) -> Read:
    if member.shape.kind != "list":
        return compile_reader(member.shape)
    read_item = compile_reader(member.shape.element)
    if member.shape.flattened:
        return lambda element: [read_item(element)]
    item_name = member.shape.element_name
    return lambda element: [read_item(child) for child in element if _local(child) == item_name]


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]
