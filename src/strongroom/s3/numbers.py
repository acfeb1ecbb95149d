"""The metrics page for Prometheus, at the paths where MinIO has it, and who may read it.

Either the page is public, or a reader needs a token as in MinIO, made by ``mc admin prometheus generate``: a JSON Web
Token (RFC 7519) for the access key, signed with its secret key (HS512).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from strongroom.s3.auth import Credentials
from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.request import HttpRequest

PATHS = ("/minio/v2/metrics/cluster", "/minio/v2/metrics/node", "/minio/prometheus/metrics")
"""The last is that of MinIO's 2019 release. Each one has the metrics of the whole server."""

_BEARER = "bearer "
_MAX_TOKEN = 4096


class NumbersPage:
    """``make`` returns the content type and the text; ``public``: readers need no token."""

    def __init__(self, make: Callable[[], tuple[str, bytes]], credentials: Credentials, public: bool) -> None:
        self._make = make
        self._credentials = credentials
        self._public = public

    async def answer(self, request: HttpRequest) -> Response:
        """The page. Raises AccessDenied."""
        if not self._public and not self._knows(request.headers.get("authorization", "")):
            raise S3Error("AccessDenied")
        content_type, text = self._make()
        return Response(200, [("content-type", content_type)], text)

    def _knows(self, authorization: str) -> bool:
        import jwt  # only Prometheus needs it

        scheme, token = authorization[: len(_BEARER)], authorization[len(_BEARER) :].strip()
        if scheme.lower() != _BEARER or len(token) > _MAX_TOKEN:
            return False
        try:
            claimed = jwt.decode(token, options={"verify_signature": False}).get("sub")
            secret = self._credentials.get(claimed) if isinstance(claimed, str) else None
            if secret is None:
                return False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a short secret key, which we cannot change
                jwt.decode(token, secret.reveal(), algorithms=["HS512"], options={"require": ["exp", "sub"]})
        except jwt.InvalidTokenError:
            return False
        return True
