"""The store on another S3: one backend object for each object, under the same key, its record in the metadata.

``docs/format.md`` gives the layout on the backend. Nothing is kept on the gateway's side.
"""

from strongroom.store.s3.client import Client
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.endpoint import Endpoint, Style, parse_endpoint
from strongroom.store.s3.store import S3Store

__all__ = ["BackendEncryption", "Client", "Endpoint", "S3Store", "Style", "parse_endpoint"]
