"""Authentication: Signature Version 4 in a header, in a presigned URL, over chunks of a body, and in a POST form.

Rules of this package: it reads no clock, no environment and no socket. ``now`` is a parameter, credentials are a
mapping, bodies come in as bytes. It knows nothing of S3's operations. The signatures themselves are computed in
``strongroom.sigv4``.
"""

from strongroom.s3.auth.payload import ChunkedPayload, HashedPayload, Payload, UnsignedPayload
from strongroom.s3.auth.post import FormDecoder, PostForm, PostIdentity, authenticate_form, is_form
from strongroom.s3.auth.verify import Identity, authenticate
from strongroom.sigv4 import Credentials

__all__ = [
    "ChunkedPayload",
    "Credentials",
    "FormDecoder",
    "HashedPayload",
    "Identity",
    "Payload",
    "PostForm",
    "PostIdentity",
    "UnsignedPayload",
    "authenticate",
    "authenticate_form",
    "is_form",
]
