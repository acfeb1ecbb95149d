"""The outer encryption: objects that are encrypted here can be encrypted once more by the storage behind the store.

For an SSE-C object the storage gets a key that is derived from the client's, never the client's own. It is not recorded
which objects were encrypted in this way: if the storage does not give out an object without a key, it is asked again
with the key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from strongroom.sealed.errors import CustomerKeyNeeded
from strongroom.sealed.keys import Kind, backend_key
from strongroom.sealed.policy import Protection
from strongroom.secret import Secret
from strongroom.store.base import EncryptingStore, Store
from strongroom.store.errors import Refused

T = TypeVar("T")

_NEEDS_KEY = ("InvalidRequest", "BadRequest")
"""The errors of S3 if an object needs a client's key and none came, or needs none and one came (the answer to a HEAD
has only the status, 400).
"""
_NEEDS_KEY_TOO = "InvalidArgument"
"""MinIO's error in that case, for an object whose name ends in a slash."""


class Outer:
    """Chooses the store for an object: ``encrypting``, if there is one, encrypts objects of these ``kinds``
    once more. ``gives_keys``: whether the storage may be given keys to read with, whatever is encrypted twice now.
    """

    def __init__(
        self,
        store: Store,
        encrypting: EncryptingStore | None = None,
        kinds: frozenset[Kind] = frozenset(),
        *,
        gives_keys: bool = True,
    ) -> None:
        self._store = store
        self._encrypting = encrypting
        self._kinds = kinds
        self._gives_keys = gives_keys

    def writing(self, bucket: str, key: str, protection: Protection) -> Store:
        """The store that takes a new object of this protection."""
        if self._encrypting is None or protection.kind not in self._kinds:
            return self._store
        if protection.kind in (Kind.SSE_S3, Kind.SSE_KMS):
            return self._encrypting.encrypted(sse_s3=True)
        if protection.customer_key is None:
            raise CustomerKeyNeeded(f"{key!r} is encrypted twice with a key of the client's")
        return self._encrypting.encrypted(customer_key=backend_key(protection.customer_key, bucket, key))

    def keyed(self, kind: Kind) -> bool:
        """Whether the storage takes new objects of this kind under keys derived from clients'."""
        return self._encrypting is not None and kind is Kind.SSE_C and kind in self._kinds

    async def read(self, bucket: str, key: str, customer_key: Secret | None, ask: Callable[[Store], Awaitable[T]]) -> T:
        """What ``ask`` returns for the store that gives out the object. Raises CustomerKeyNeeded, and what ``ask``
        raises.
        """
        if self._encrypting is None or not self._gives_keys:
            return await ask(self._store)
        stores = [self._store]
        if customer_key is not None:
            keyed = self._encrypting.encrypted(customer_key=backend_key(customer_key, bucket, key))
            stores = [keyed, self._store] if Kind.SSE_C in self._kinds else [self._store, keyed]
        for store in stores:
            try:
                return await ask(store)
            except Refused as error:
                if not _needs_key(key, error):
                    raise
                refused = error
        raise CustomerKeyNeeded(f"the storage does not give out {bucket}/{key} without its key") from refused


def _needs_key(key: str, error: Refused) -> bool:
    return error.status == 400 and (error.code in _NEEDS_KEY or (error.code == _NEEDS_KEY_TOO and key.endswith("/")))
