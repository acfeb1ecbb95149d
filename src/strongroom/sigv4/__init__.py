"""Signature Version 4, for both ends: a server verifies and a client signs with the same code.

Rules of this package: it reads no clock, no environment and no socket, and knows nothing of S3's operations or errors.
"""

from strongroom.sigv4.canonical import InvalidText, Pairs, canonical_pairs, request_digest
from strongroom.sigv4.chunks import ChunkSigner, ChunkSigning
from strongroom.sigv4.keys import Credentials
from strongroom.sigv4.sign import Signed, SigningCredential, presign, sign

__all__ = [
    "ChunkSigner",
    "ChunkSigning",
    "Credentials",
    "InvalidText",
    "Pairs",
    "Signed",
    "SigningCredential",
    "canonical_pairs",
    "presign",
    "request_digest",
    "sign",
]
