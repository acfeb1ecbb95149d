"""The file-system layout: the folder that a MinIO with one drive, or a NAS gateway, served. Pure."""

from __future__ import annotations

import json

from strongroom.legacy.errors import COPY_OVER_S3, NotCovered

SYSTEM = ".minio.sys"
"""The folder, beside the buckets, for everything that is not an object."""

FORMAT = "format.json"
"""The file in :data:`SYSTEM` that says which layout this is."""

DOCUMENTS = "buckets"
"""The folder in :data:`SYSTEM` that has a folder BUCKET/KEY for each object, with its document in it."""

DOCUMENT = "fs.json"
UNFINISHED = ("multipart", "tmp")
"""The folders in :data:`SYSTEM` for uploads that were not completed, and for files that were not written to the end."""

MAX_FORMAT = 64 * 1024

_FILE_SYSTEM = "fs"
_ERASURE = {
    "xl": "the erasure-coded layout of several drives",
    "xl-single": "the layout that MinIO of June 2022 and later has on one drive (xl.meta)",
}


def check_format(document: bytes) -> None:
    """Raises NotCovered unless ``format.json`` says that this is the file-system layout."""
    try:
        name = str(json.loads(document)["format"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotCovered(f"{SYSTEM}/{FORMAT} is damaged: it does not say which of MinIO's layouts this is") from None
    if name != _FILE_SYSTEM:
        layout = _ERASURE.get(name, f"a layout of MinIO's called {name[:20]!r}")
        raise NotCovered(f"this is {layout}, which is not read in place; {COPY_OVER_S3}")
