"""Reads the S3 service model that botocore ships, and gives it as typed values: operations, shapes, members."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import Any

import botocore

from strongroom.s3 import shapes

_FILES = Path(botocore.__file__).parent / "data" / "s3" / "2006-03-01"

# Corrects names for which the general rule of snake case gives something that nobody would write.
_RENAMED = {"e_tag": "etag", "crc32_c": "crc32c", "crc64_nvme": "crc64nvme"}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure: ``location`` is "header", "headers", "querystring", "uri", or "" (the body)."""

    name: str
    attribute: str
    wire: str
    location: str
    shape: Shape
    required: bool
    xml_attribute: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape: ``kind`` is structure, list, map, string, integer, long, boolean, timestamp, blob, …"""

    name: str
    kind: str
    raw: Mapping[str, Any]

    @property
    def members(self) -> list[Member]:
        """The members of a structure, except for streamed ones."""
        shapes = _load()["shapes"]
        required = self.raw.get("required", ())
        return [
            Member(
                name=name,
                attribute=attribute_of(name),
                wire=member.get("locationName", name),
                location=member.get("location", ""),
                shape=shape_of(member["shape"]),
                required=name in required,
                xml_attribute=member.get("xmlAttribute", False),
            )
            for name, member in self.raw.get("members", {}).items()
            if not _streams(member, shapes)
        ]

    @property
    def element(self) -> Shape:
        """The shape of a list's elements."""
        return shape_of(self.raw["member"]["shape"])

    @property
    def element_name(self) -> str:
        """The XML name of a list's elements, if the list is not flattened."""
        name: str = self.raw["member"].get("locationName", "member")
        return name

    @property
    def flattened(self) -> bool:
        """Whether a list's elements have no element around them all."""
        return bool(self.raw.get("flattened"))

    @property
    def payload(self) -> str:
        """The name of the member that is the whole body, or ""."""
        name: str = self.raw.get("payload", "")
        return name


@dataclass(frozen=True, slots=True)
class OperationModel:
    """An operation: its method, the path's level ("service", "bucket", "object"), and the query that selects it."""

    name: str
    method: str
    level: str
    selectors: Mapping[str, str | None]
    status: int
    input: Shape | None
    output: Shape | None

    @property
    def attribute(self) -> str:
        """The name in snake case: ``put_object``."""
        return attribute_of(self.name)


@cache
def attribute_of(name: str) -> str:
    """A name of the model in snake case."""
    snake = botocore.xform_name(name)
    for ugly, plain in _RENAMED.items():
        snake = snake.replace(ugly, plain)
    return f"{snake}_" if iskeyword(snake) else snake


@cache
def shape_of(name: str) -> Shape:
    """The shape of this name."""
    raw = _load()["shapes"][name]
    return Shape(name, raw["type"], raw)


def known_members(shape: Shape) -> list[Member]:
    """The members of a structure that its class in shapes.py has: the model of a later botocore may have more."""
    known = {field.name for field in fields(getattr(shapes, shape.name))}
    return [member for member in shape.members if member.attribute in known]


@cache
def operations() -> list[OperationModel]:
    """All operations of S3, by name."""
    return [_operation(name, raw) for name, raw in sorted(_load()["operations"].items())]


@cache
def _load() -> Mapping[str, Any]:
    """The model as botocore's loader gives it, read without the loader: importing that takes four times as long."""
    try:
        with gzip.open(_FILES / "service-2.json.gz") as file:
            model: dict[str, Any] = json.load(file)
        extras = json.loads((_FILES / "service-2.sdk-extras.json").read_bytes())
    except OSError:  # another release may have other files
        from botocore.loaders import Loader

        loaded: Mapping[str, Any] = Loader().load_service_model("s3", "service-2")
        return loaded
    for name, shape in extras["merge"]["shapes"].items():
        model["shapes"][name] |= shape
    return model


def _operation(name: str, raw: Mapping[str, Any]) -> OperationModel:
    path, _, query = raw["http"]["requestUri"].partition("?")
    selectors: dict[str, str | None] = {}
    for item in query.split("&") if query else ():
        key, equals, value = item.partition("=")
        selectors[key] = value if equals else None
    level = "object" if "{Key" in path else "bucket" if "{Bucket}" in path else "service"
    return OperationModel(
        name=name,
        method=raw["http"]["method"],
        level=level,
        selectors=selectors,
        status=raw["http"].get("responseCode", 200),
        input=shape_of(raw["input"]["shape"]) if "input" in raw else None,
        output=shape_of(raw["output"]["shape"]) if "output" in raw else None,
    )


def _streams(member: Mapping[str, Any], shapes: Mapping[str, Any]) -> bool:
    return bool(member.get("streaming") or shapes[member["shape"]].get("streaming") or member.get("eventstream"))
