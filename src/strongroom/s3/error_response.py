"""An S3Error as a response. Pure.

Source: "Error responses" in the Amazon S3 API reference. Where an answer has no body, headers of MinIO's say what went
wrong, which its clients look for.
"""

from __future__ import annotations

import re

from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.xml import DECLARATION, escape

_ELEMENT = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_CODE = re.compile(r"[\w.-]+", re.ASCII)
_DESCRIPTION = re.compile(r"[ !#-~]{1,512}")  # what can stand in double quotes, in a header


def error_response(error: S3Error, resource: str, request_id: str, host_id: str, head: bool) -> Response:
    """The response for an error; without a body where it answers a HEAD, or says that nothing was modified."""
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
    """The headers that tell of an error, as far as its code and message can stand in one."""
    told = []
    if _CODE.fullmatch(error.code):
        told.append(("x-minio-error-code", error.code))
    if _DESCRIPTION.fullmatch(error.message):
        told.append(("x-minio-error-desc", f'"{error.message}"'))
    return told
