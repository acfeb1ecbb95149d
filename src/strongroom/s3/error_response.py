"""An S3Error as a response. Pure.

Source: "Error responses" in the Amazon S3 API reference. If an answer has no body, MinIO's headers say what went wrong:
its clients look for them.
"""

from __future__ import annotations

import re

from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.xml import DECLARATION, escape

_ELEMENT = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_CODE = re.compile(r"[\w.-]+", re.ASCII)
_DESCRIPTION = re.compile(r"[ !#-~]{1,512}")  # what a header may have in double quotes


def error_response(error: S3Error, resource: str, request_id: str, host_id: str, head: bool) -> Response:
    """The response for an error; without a body if it answers a HEAD (``head``), or is a 304 (Not Modified)."""
    headers = list(error.headers.items())
    if error.status == 304:
        return Response(error.status, headers, b"")
    if head:
        return Response(error.status, [*headers, *_told(error)], b"")
    elements = {
        "Code": error.code,
        "Message": error.message,
        **error.details,
        "Resource": resource,
        "RequestId": request_id,
        "HostId": host_id,
    }
    body = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items() if _ELEMENT.fullmatch(name))
    headers.append(("content-type", "application/xml"))
    return Response(error.status, headers, f"{DECLARATION}<Error>{body}</Error>".encode())


def _told(error: S3Error) -> list[tuple[str, str]]:
    """The headers that show an error's code and message, if these may be in a header."""
    told = []
    if _CODE.fullmatch(error.code):
        told.append(("x-minio-error-code", error.code))
    if _DESCRIPTION.fullmatch(error.message):
        told.append(("x-minio-error-desc", f'"{error.message}"'))
    return told
