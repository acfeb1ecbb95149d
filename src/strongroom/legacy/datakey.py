"""Data keys that MinIO's own KMS wrapped with a master key from the environment. Pure.

Two forms, told apart by their first byte:

- until April 2021 (``MINIO_SSE_MASTER_KEY``, ``MINIO_KMS_MASTER_KEY``): a DARE package under HMAC-SHA256(master key,
  key id ‖ context);
- later (``MINIO_KMS_SECRET_KEY``): JSON with ``aead``, ``iv``, ``nonce``, ``bytes``; the context is associated data. On
  machines without AES in hardware ``aead`` is ChaCha20-Poly1305, under HChaCha20(master key, iv).

What Vault wrapped is text, ``vault:v1:…``, and only Vault can open it.
"""

from __future__ import annotations

import base64
import hmac
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from strongroom.legacy.errors import LegacyDamaged
from strongroom.legacy.package import SEALED_KEY, PackageRefused, open_package

PROVIDER = "minio"
"""The provider of the wrapped keys of legacy objects that MinIO's own KMS wrapped."""

_VAULT = b"vault:v"
_AES = "AES-256-GCM-HMAC-SHA-256"
_CHACHA = "ChaCha20Poly1305"
_IV, _NONCE = 16, 12


class DataKeyRefused(Exception):
    """The wrapped data key does not open with this master key and context."""


def wrapped_by_vault(wrapped: bytes) -> bool:
    """Whether Vault wrapped the data key."""
    return wrapped.startswith(_VAULT)


def open_data_key(master_key: bytes, key_id: str, wrapped: bytes, contexts: Sequence[bytes]) -> bytes:
    """The data key (32 bytes) that was wrapped with ``master_key`` and one of ``contexts``.

    Raises DataKeyRefused; LegacyDamaged if MinIO cannot have written it.
    """
    if wrapped.startswith(b"{"):
        sealed = _read_json(wrapped)
        candidates = (sealed.open(master_key, context) for context in contexts)
    elif len(wrapped) == SEALED_KEY:
        candidates = (_open_dare(master_key, key_id, wrapped, context) for context in contexts)
    else:
        raise LegacyDamaged("its wrapped data key has no form that MinIO wrote")
    for data_key in candidates:
        if data_key is not None:
            if len(data_key) != 32:
                raise LegacyDamaged("its data key does not have 32 bytes")
            return data_key
    raise DataKeyRefused("the data key does not open")


def _open_dare(master_key: bytes, key_id: str, wrapped: bytes, context: bytes) -> bytes | None:
    try:
        return open_package(hmac.digest(master_key, key_id.encode() + context, "sha256"), wrapped)
    except PackageRefused:
        return None


@dataclass(frozen=True, slots=True)
class _SealedKey:
    aead: str
    iv: bytes
    nonce: bytes
    content: bytes

    def open(self, master_key: bytes, context: bytes) -> bytes | None:
        cipher: AESGCM | ChaCha20Poly1305
        if self.aead == _AES:
            cipher = AESGCM(hmac.digest(master_key, self.iv, "sha256"))
        else:
            cipher = ChaCha20Poly1305(hchacha20(master_key, self.iv))
        try:
            return cipher.decrypt(self.nonce, self.content, context)
        except InvalidTag:
            return None


def _read_json(text: bytes) -> _SealedKey:
    try:
        fields = json.loads(text)
        aead = fields["aead"]
        iv, nonce, content = (base64.b64decode(fields[name], validate=True) for name in ("iv", "nonce", "bytes"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LegacyDamaged("its wrapped data key is damaged") from error
    if aead not in (_AES, _CHACHA) or len(iv) != _IV or len(nonce) != _NONCE:
        raise LegacyDamaged("its wrapped data key is of an unknown kind")
    return _SealedKey(aead, iv, nonce, content)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20 (draft-irtf-cfrg-xchacha, 2.2): 32 bytes from a 32-byte key and a 16-byte nonce.

    A block of ChaCha20 is the state after the rounds plus the initial state. HChaCha20 is the first and the last row of
    the state after the rounds.
    """
    block = Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(bytes(64))
    words = struct.unpack("<16I", block)
    state = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<4I", nonce)
    rows = words[:4] + words[12:]
    return struct.pack("<8I", *((word - first) & 0xFFFFFFFF for word, first in zip(rows, state, strict=True)))
