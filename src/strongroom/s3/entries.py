"""The entries of listings, a thousand at a time: the same XML that the writers of :mod:`~strongroom.s3.xml` make, but
without a shape for each entry.

The form of an entry is taken from what the general writer makes of an example, once, so that it has one definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat

from strongroom.dates import utc
from strongroom.s3.describe import quoted
from strongroom.s3.naming import OWNER, encode_name
from strongroom.s3.service_model import shape_of
from strongroom.s3.shapes import CommonPrefix, Object, ObjectVersion
from strongroom.s3.xml import Written, compile_writer, escape_all, format_moment
from strongroom.sealed.objects import Summary

_KEY, _ETAG, _SIZE, _MODIFIED = "@key@", "@etag@", 2**63 - 1, datetime.max.replace(tzinfo=UTC)
_MARKS = {_KEY: "key", format_moment(_MODIFIED): "modified", _ETAG: "etag", str(_SIZE): "size"}
_MARK = re.compile(f"({'|'.join(map(re.escape, _MARKS))})")
_MILLISECONDS = [f"{count:03}Z" for count in range(1000)]


class Entries:
    """Writes objects and common prefixes as entries of listings."""

    def __init__(self) -> None:
        key, modified, etag, size = _KEY, _MODIFIED, quoted(_ETAG), _SIZE
        plain = Object(key=key, last_modified=modified, etag=etag, size=size, storage_class="STANDARD")
        owned = Object(key=key, last_modified=modified, etag=etag, size=size, storage_class="STANDARD", owner=OWNER)
        version = ObjectVersion(
            key=key,
            version_id="null",
            is_latest=True,
            last_modified=modified,
            etag=etag,
            size=size,
            storage_class="STANDARD",
            owner=OWNER,
        )
        self._object = _template("ListObjectsV2Output", "contents", plain)
        self._owned = _template("ListObjectsV2Output", "contents", owned)
        self._version = _template("ListObjectVersionsOutput", "versions", version)
        self._prefix = _template("ListObjectsV2Output", "common_prefixes", CommonPrefix(prefix=key))

    def objects(self, page: Sequence[Summary], encoding: str | None, with_owner: bool) -> Written:
        """Objects as the Contents of ListObjects and ListObjectsV2."""
        return _fill(self._owned if with_owner else self._object, page, encoding)

    def versions(self, page: Sequence[Summary], encoding: str | None) -> Written:
        """Objects as versions, of which each has one."""
        return _fill(self._version, page, encoding)

    def prefixes(self, names: Sequence[str], encoding: str | None) -> Written:
        """Common prefixes."""
        return self._prefix.fill(key=_escaped(names, encoding))


@dataclass(frozen=True, slots=True)
class _Template:
    """The constant text of an entry, in ``pieces``, and the ``order`` of the variable columns between them."""

    pieces: Sequence[str]
    order: Sequence[str]

    def fill(self, **columns: Iterable[str]) -> Written:
        """Entries made from columns of escaped texts: entry *i* has the *i*-th text of each column."""
        strands: list[Iterable[str]] = [repeat(self.pieces[0])]
        for name, behind in zip(self.order, self.pieces[1:], strict=True):
            strands += (columns[name], repeat(behind))
        return Written(map("".join, zip(*strands, strict=False)))


def _template(output: str, attribute: str, example: object) -> _Template:
    member = next(member for member in shape_of(output).members if member.attribute == attribute)
    out: list[str] = []
    compile_writer(member.shape.element, member.wire)(out, example)
    pieces = _MARK.split("".join(out))
    return _Template(pieces[::2], [_MARKS[mark] for mark in pieces[1::2]])


def _fill(template: _Template, page: Sequence[Summary], encoding: str | None) -> Written:
    if not page:
        return Written()
    keys, sizes, times, etags = zip(*page, strict=True)
    return template.fill(
        key=_escaped(keys, encoding), modified=map(_moment, times), etag=escape_all(etags), size=map(str, sizes)
    )


def _escaped(names: Sequence[str], encoding: str | None) -> Sequence[str]:
    return escape_all(names if encoding is None else [encode_name(name, encoding) for name in names])


def _moment(nanoseconds: int) -> str:
    return _second(nanoseconds // 1_000_000_000) + _MILLISECONDS[nanoseconds // 1_000_000 % 1000]


@lru_cache(4096)
def _second(seconds: int) -> str:
    """A time in XML, without its milliseconds and the "Z"."""
    return format_moment(utc(seconds)).removesuffix("000Z")
