"""Credentials towards the backend: those that botocore's chain finds (environment, profile, web identity, instance),
else the gateway's own pair. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from strongroom.secret import Secret
from strongroom.sigv4.sign import SigningCredential
from strongroom.store.base import Unavailable

_log = logging.getLogger("strongroom.backend")


class CredentialSource(Protocol):
    """Gives the credentials that are valid now."""

    async def current(self) -> SigningCredential:
        """What to sign the next request with. Raises Unavailable where there is nothing."""
        ...


class FixedCredentials:
    """A pair that never changes."""

    def __init__(self, credential: SigningCredential) -> None:
        self._credential = credential

    async def current(self) -> SigningCredential:
        """The pair."""
        return self._credential


class ChainedCredentials:
    """What botocore found, refreshed by botocore in a thread when it is about to end."""

    def __init__(self, found: Any) -> None:
        self._found = found
        self._lock = asyncio.Lock()
        self._frozen: Any = None
        self._credential: SigningCredential | None = None

    async def current(self) -> SigningCredential:
        """The credentials, refreshed where that is due. Raises Unavailable where they cannot be."""
        if self._credential is None or self._due():
            async with self._lock:
                if self._credential is None or self._due():
                    self._credential = await self._fresh()
        return self._credential

    async def _fresh(self) -> SigningCredential:
        from botocore.exceptions import BotoCoreError

        try:
            frozen = await asyncio.to_thread(self._found.get_frozen_credentials)
        except BotoCoreError as error:
            raise Unavailable(f"the credentials for the backend cannot be had: {error}") from error
        token = Secret(frozen.token) if frozen.token else None
        return SigningCredential(frozen.access_key, Secret(frozen.secret_key), token)

    def _due(self) -> bool:
        needed = getattr(self._found, "refresh_needed", None)
        return bool(needed is not None and needed())


async def find_credentials(own: SigningCredential) -> CredentialSource:
    """The credentials of botocore's chain, or ``own`` where it finds none."""
    found = await asyncio.to_thread(_chain)
    if found is None:
        _log.info("the backend is asked with the gateway's own credentials")
        return FixedCredentials(own)
    _log.info("the backend is asked with other credentials than the gateway's", extra={"source": found.method})
    return ChainedCredentials(found)


def _chain() -> Any:
    from botocore.session import Session  # 100 ms, and only the S3 gateway needs it

    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)  # what it tells below that, this module says
    return Session().get_credentials()
