"""The layout of MinIO's S3 gateway, over a store on another S3: what it left is read, and removed once written over.

An object of that gateway is two: ``KEY/.minio/data`` with its streams, ``KEY/.minio/dare.meta`` with its document.
What we write lies under the key itself and takes precedence over them; they are removed after it is written. A bucket
that is marked clean (because it was made here, or adopted) is not searched for them.
"""

from strongroom.store.left.store import LeftStore

__all__ = ["LeftStore"]
