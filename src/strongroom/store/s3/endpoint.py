"""Where a request to the backend goes: host and path for a bucket and a key, in path or virtual-host style. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from strongroom.trust import in_the_clear

Style = Literal["auto", "path", "virtual"]

AWS_SUFFIX = ".amazonaws.com"
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_ADMINISTERED = ("minio/admin/", "minio/kms/")
_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A backend. ``host`` (with its port, unless that is the scheme's default) is "" for AWS, whose hosts depend on the
    region.
    """

    secure: bool
    host: str
    style: Style = "auto"

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "https" if self.secure else "http"

    @property
    def in_the_clear(self) -> bool:
        """Whether what is sent can be read on the way: plain HTTP, to another machine."""
        return in_the_clear(f"{self.scheme}://{self.host}")

    @property
    def exact(self) -> bool:
        """Whether the backend takes each name as it is: AWS does, others may keep objects as files."""
        return not self.host or self.host.partition(":")[0].endswith((AWS_SUFFIX, AWS_SUFFIX + ".cn"))

    def address(self, region: str, bucket: str = "", key: str = "") -> tuple[str, str]:
        """The host and the percent-encoded path of a bucket or an object."""
        host = self.host or f"s3.{region}{AWS_SUFFIX}{'.cn' if region.startswith('cn-') else ''}"
        path = quote(key, safe="/~")
        if bucket and self._virtual(bucket):
            return f"{bucket}.{host}", f"/{path}"
        return host, f"/{bucket}/{path}" if key else f"/{bucket}"

    def administers(self, bucket: str, key: str) -> bool:
        """Whether a MinIO would take a request for one to its administration API, and not for an object, and obey it,
        since the gateway signs it. MinIO decides by the path, even if the bucket is in the host's name.
        """
        path = key if self._virtual(bucket) else f"{bucket}/{key}"
        return path.startswith(_ADMINISTERED) and not self.exact

    def _virtual(self, bucket: str) -> bool:
        if self.style == "auto":
            # A wildcard certificate does not cover a bucket with dots in its name.
            return not self.host and not (self.secure and "." in bucket)
        return self.style == "virtual"


def parse_endpoint(url: str | None, style: Style = "auto") -> Endpoint:
    """The endpoint that a URL names; AWS for None. Raises ValueError, saying what is wrong."""
    if url is None:
        return Endpoint(True, "", style)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{url!r} is not a URL") from None
    if parts.scheme not in _PORTS:
        raise ValueError("it must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into the URL: everybody on the machine can see it")
    if not _HOST.fullmatch(parts.netloc) or (port is not None and port > 65535):
        raise ValueError("it names no host")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("there must be nothing behind the host and port")
    host = parts.netloc.lower().removesuffix(_PORTS[parts.scheme])
    return Endpoint(parts.scheme == "https", host, style)
