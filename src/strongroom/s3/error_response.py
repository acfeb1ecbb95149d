"""An S3Error as a response. Pure.

Source: "Error responses" in the Amazon S3 API reference.
"""

from __future__ import annotations

import re

from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.xml import DECLARATION, escape

_ELEMENT = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def error_response(error: S3Error, resource: str, request_id: str, host_id: str, head: bool) -> Response:
    """The response for an error; without a body where it answers a HEAD, or says that nothing was modified."""
    headers = list(error.headers.items())
    if head or error.status == 304:
        return Response(error.status, headers, b"")
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
