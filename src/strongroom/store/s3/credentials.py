"""Credentials towards the backend: those that botocore's chain finds (environment, profile, web identity, container,
instance), else the gateway's own pair. Knows nothing of requests.

Credentials that end are had anew in the background, long before they do. A request waits for new ones only where those
at hand may have ended when it arrives, or were refused, and then all that wait share one attempt: where they come from
may be slow.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from strongroom.secret import Secret
from strongroom.sigv4.sign import SigningCredential
from strongroom.store.errors import StoreError, Unavailable

_log = logging.getLogger("strongroom.backend")

_LEFT = 60  # seconds of life that credentials need for a request: clocks differ, and a request may be repeated
_PAUSE = 30.0  # seconds between two attempts while there are credentials that have not ended


class CredentialSource(Protocol):
    """Gives the credentials that are valid now."""

    async def current(self) -> SigningCredential:
        """What to sign the next request with. Raises Unavailable where there is nothing."""
        ...

    def refused(self) -> None:
        """The backend does not take them any more."""
        ...


class FixedCredentials:
    """A pair that never changes."""

    def __init__(self, credential: SigningCredential) -> None:
        self._credential = credential

    async def current(self) -> SigningCredential:
        """The pair."""
        return self._credential

    def refused(self) -> None:
        """There are no others."""


class ChainedCredentials:
    """What botocore found. It asks where they came from, too, and that blocks: in a thread.

    ``found`` is botocore's object; None where there are credentials to be had, but not yet.
    """

    def __init__(self, found: Any) -> None:
        self._found = found
        self._credential: SigningCredential | None = None
        self._attempt: asyncio.Task[SigningCredential] | None = None
        self._next = 0.0  # when the next attempt in the background may begin, by the loop's clock

    async def current(self) -> SigningCredential:
        """The credentials. Raises Unavailable where they have ended and no others can be had."""
        held = self._credential
        if held is None or self._ends_in(_LEFT):
            return await asyncio.shield(self._begun())
        if self._ends_in(None) and asyncio.get_running_loop().time() >= self._next:
            self._begun()
        return held

    def refused(self) -> None:
        """Look for others before the next request, in whatever the chain reads: somebody may have put them there."""
        if self._attempt is None and asyncio.get_running_loop().time() >= self._next:
            self._found = self._credential = None

    def _ends_in(self, seconds: int | None) -> bool:
        """Whether the credentials at hand end so soon; None: as soon as botocore thinks of new ones."""
        needed = getattr(self._found, "refresh_needed", None)
        return bool(needed is not None and needed(refresh_in=seconds))

    def _begun(self) -> asyncio.Task[SigningCredential]:
        """The attempt that is under way; begun where none is."""
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._fresh())
            self._attempt.add_done_callback(self._ended)
        return self._attempt

    def _ended(self, attempt: asyncio.Task[SigningCredential]) -> None:
        self._attempt = None
        self._next = attempt.get_loop().time() + _PAUSE
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            _log.warning("no new credentials for the backend: %s", error)

    async def _fresh(self) -> SigningCredential:
        try:
            if self._found is None:
                self._found = await asyncio.to_thread(_chain)
            if self._found is None:
                raise LookupError("there are none any more")
            frozen = await asyncio.to_thread(self._found.get_frozen_credentials)
        except Exception as error:  # what a chain asks raises whatever it likes: BotoCoreError, OSError, RuntimeError
            raise Unavailable(f"the credentials for the backend cannot be had: {error}") from error
        token = Secret(frozen.token) if frozen.token else None
        self._credential = SigningCredential(frozen.access_key, Secret(frozen.secret_key), token)
        return self._credential


async def find_credentials(own: SigningCredential) -> CredentialSource:
    """The credentials of botocore's chain, or ``own`` where it finds none.

    Raises StoreError for settings of the chain that are wrong. Where what it asks does not answer, it is asked again
    when they are needed.
    """
    from botocore.exceptions import BotoCoreError, CredentialRetrievalError

    try:
        found = await asyncio.to_thread(_chain)
    except CredentialRetrievalError as error:
        _log.warning("no credentials for the backend yet: %s", error)
        return ChainedCredentials(None)
    except (BotoCoreError, OSError) as error:
        raise StoreError(f"the credentials for the backend: {error}") from error
    if found is None:
        _log.info("the backend is asked with the gateway's own credentials")
        return FixedCredentials(own)
    _log.info("the backend is asked with credentials of the AWS tools' chain", extra={"source": found.method})
    return ChainedCredentials(found)


def _chain() -> Any:
    from botocore.session import Session  # 100 ms, and only the S3 gateway needs it

    # What it tells, this module says: in one line, and without a traceback.
    logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
    return Session().get_credentials()
