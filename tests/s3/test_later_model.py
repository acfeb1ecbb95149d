"""The service model of a later botocore: what it has that the values here do not, is passed over."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from strongroom.s3 import service_model
from strongroom.s3.model import Model, compile_model
from strongroom.s3.request import HttpRequest
from strongroom.s3.shapes import CORSConfiguration, ListObjectsV2Output, Object, PutBucketCorsRequest, PutObjectOutput

NOVEL = {
    "PutObjectRequest": {"shape": "ContentType", "location": "header", "locationName": "x-amz-novel"},
    "PutObjectOutput": {"shape": "ContentType", "location": "header", "locationName": "x-amz-novel"},
    "ListObjectsV2Request": {"shape": "ContentType", "location": "querystring", "locationName": "novel"},
    "ListObjectsV2Output": {"shape": "ContentType"},
    "Object": {"shape": "Novel"},
    "CORSRule": {"shape": "Novel"},
}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    model: Any = copy.deepcopy(dict(service_model._load()))
    model["shapes"]["Novel"] = {"type": "structure", "members": {"Word": {"shape": "ContentType"}}}
    for shape, member in NOVEL.items():
        model["shapes"][shape]["members"]["Novel"] = member
    monkeypatch.setattr(service_model, "_load", lambda: model)
    service_model.shape_of.cache_clear()
    service_model.operations.cache_clear()
    yield compile_model()
    service_model.shape_of.cache_clear()
    service_model.operations.cache_clear()


def head(
    method: str, path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> HttpRequest:
    return HttpRequest(method, path, urlencode(query or {}), headers or {}, False, "127.0.0.1", query or {})


def parsed(model: Model, request: HttpRequest, body: bytes = b"") -> Any:
    route = model.route(request, [])
    assert route.operation is not None
    return route.operation.parse(request, route.target, body)


def test_requests_and_answers_are_read_and_written_without_it(later: Model) -> None:
    served = {operation.name: operation for operation in later.served}
    put = head("PUT", "/bucket/key", headers={"x-amz-novel": "x", "content-type": "text/plain"})
    assert parsed(later, put).content_type == "text/plain"
    assert ("etag", '"e"') in served["PutObject"].serialize(PutObjectOutput(etag='"e"')).headers

    listing = head("GET", "/bucket", {"list-type": "2", "prefix": "a", "novel": "x"})
    assert parsed(later, listing).prefix == "a"
    page = served["ListObjectsV2"].serialize(ListObjectsV2Output(contents=[Object(key="a")])).body
    assert [node.text for node in ElementTree.fromstring(page).iter() if node.tag.endswith("Key")] == ["a"]

    rule = b"<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin><Novel><Word>x</Word></Novel>"
    body = b"<CORSConfiguration><CORSRule>" + rule + b"</CORSRule></CORSConfiguration>"
    cors: PutBucketCorsRequest = parsed(later, head("PUT", "/bucket", {"cors": ""}), body)
    assert isinstance(cors.cors_configuration, CORSConfiguration)
    assert cors.cors_configuration.cors_rules[0].allowed_methods == ["GET"]
