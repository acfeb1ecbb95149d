"""The static KMS: one master key, given in the environment or in a Docker secret.

A data key is wrapped with AES-256-GCM under HMAC-SHA256(master key, length of the key id ‖ key id ‖ context): each
context has a wrapping key of its own, so that the random nonces under one key never come near the birthday bound.
The wrapped form is the 12-byte nonce, the ciphertext and the tag: 60 bytes.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kms.base import (
    Context,
    DataKey,
    KMSError,
    KMSStatus,
    NoSuchKey,
    WrappedKey,
    WrappedKeyInvalid,
    context_bytes,
)
from strongroom.legacy import datakey as legacy
from strongroom.legacy.context import context_forms
from strongroom.legacy.errors import LegacyDamaged
from strongroom.secret import Secret

PROVIDER = "static"
_NONCE = 12
_WRAPPED = _NONCE + 32 + 16
_OTHER_KEY = (
    "a data key does not open with the master key {!r}: it is damaged or another object's, "
    "or another key of the same name wrapped it"
)


class StaticKMS:
    """Wraps data keys with one master key.

    ``key`` has 32 bytes. Raises ValueError if it has not.
    """

    def __init__(self, key_id: str, key: Secret) -> None:
        if len(key.reveal()) != 32:
            raise ValueError("the master key is not 32 bytes")
        self._key_id = key_id
        self._key = key
        name = key_id.encode()
        self._derivation = hmac.new(key.reveal(), len(name).to_bytes(2, "big") + name, "sha256")

    @property
    def key_id(self) -> str:
        """The name of the master key."""
        return self._key_id

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """A new random data key for each context. Raises NoSuchKey if ``key_id`` is not the name of the master key."""
        if key_id not in ("", self._key_id):
            raise NoSuchKey(f"no master key {key_id!r} is configured: the one there is, is {self._key_id!r}")
        return [self._generate(context) for context in contexts]

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """Open wrapped keys; the answer is NoSuchKey for another master key, WrappedKeyInvalid if one does not open."""
        return [self._unwrap(wrapped, context) for wrapped, context in keys]

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """Whether this master key wrapped it."""
        return wrapped.provider in (PROVIDER, legacy.PROVIDER) and wrapped.key_id == self._key_id

    async def status(self) -> KMSStatus:
        """Wrap a key and unwrap it again."""
        made = self._generate({"strongroom": "status"})
        opened = self._unwrap(made.wrapped, {"strongroom": "status"})
        works = isinstance(opened, bytes) and hmac.compare_digest(opened, made.plaintext)
        return KMSStatus(PROVIDER, self._key_id, None if works else "a key that was wrapped does not unwrap")

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Nothing to end."""

    def _wrapping_key(self, context: Context) -> AESGCM:
        derivation = self._derivation.copy()
        derivation.update(context_bytes(context))
        return AESGCM(derivation.digest())

    def _generate(self, context: Context) -> DataKey:
        plaintext, nonce = os.urandom(32), os.urandom(_NONCE)
        ciphertext = self._wrapping_key(context).encrypt(nonce, plaintext, None)
        return DataKey(plaintext, WrappedKey(PROVIDER, self._key_id, nonce + ciphertext))

    def _unwrap_legacy(self, wrapped: WrappedKey, context: Context) -> bytes | KMSError:
        """A data key that MinIO wrapped with the same master key."""
        try:
            forms = context_forms(context)
            return legacy.open_data_key(self._key.reveal(), self._key_id, wrapped.ciphertext, forms)
        except legacy.DataKeyRefused:
            return WrappedKeyInvalid(_OTHER_KEY.format(wrapped.key_id))
        except LegacyDamaged as error:
            return WrappedKeyInvalid(str(error))

    def _unwrap(self, wrapped: WrappedKey, context: Context) -> bytes | KMSError:
        if wrapped.provider == legacy.PROVIDER and wrapped.key_id == self._key_id:
            return self._unwrap_legacy(wrapped, context)
        if wrapped.provider != PROVIDER or wrapped.key_id != self._key_id:
            return NoSuchKey(f"no master key {wrapped.key_id!r} of provider {wrapped.provider!r} is configured")
        sealed = wrapped.ciphertext
        if len(sealed) != _WRAPPED:
            return WrappedKeyInvalid(f"a data key wrapped by {wrapped.key_id!r} is damaged")
        try:
            return self._wrapping_key(context).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag:
            return WrappedKeyInvalid(_OTHER_KEY.format(wrapped.key_id))
