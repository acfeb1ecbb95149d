"""Credentials towards the backend: those that botocore's chain finds (environment, profile, web identity, container,
instance), else the gateway's own pair. Knows nothing of requests.

Credentials that expire are renewed in the background, long before they do. A request waits for new ones only if those
at hand may have expired when it arrives, or were refused; all requests that wait share one attempt, since the place
that credentials come from may be slow. It may also hang, be away when the gateway starts, or answer nonsense.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from strongroom.secret import Secret
from strongroom.sigv4.sign import SigningCredential
from strongroom.store.errors import StoreError, Unavailable

_log = logging.getLogger("strongroom.backend")

_LEFT = 60  # seconds that credentials must still be valid for a request: clocks differ, and it may be repeated
_PAUSE = 30.0  # seconds between two attempts while there are credentials that have not expired
_SHORT_PAUSE = 1.0  # seconds between two attempts while there are none, so that not each request leads to one
_PATIENCE = 30.0  # seconds that requests wait for an attempt
_LOST = 300.0  # seconds after which an attempt is given up: its thread may hang for ever
_MAX_REASON = 300

T = TypeVar("T")


class CredentialSource(Protocol):
    """Gives the credentials that are valid now."""

    async def current(self) -> SigningCredential:
        """The credentials to sign the next request with. Raises Unavailable if there are none."""
        ...

    def refused(self) -> None:
        """Note that the backend does not accept them any more."""
        ...


class FixedCredentials:
    """A pair that never changes."""

    def __init__(self, credential: SigningCredential) -> None:
        self._credential = credential

    async def current(self) -> SigningCredential:
        """The pair."""
        return self._credential

    def refused(self) -> None:
        """Nothing: there are no others."""


class ChainedCredentials:
    """The credentials that botocore's chain finds. Renewing them blocks, so it is done in a thread.

    ``found`` is botocore's object; None if there is none yet. ``own`` is what to use as long as the chain finds none:
    an instance may learn of its role some time after its start.
    """

    def __init__(self, found: Any, own: SigningCredential | None = None) -> None:
        self._found = found
        self._own = self._credential = own
        self._attempt: asyncio.Task[SigningCredential] | None = None
        self._begun_at = 0.0  # when the attempt began, by the loop's clock
        self._next = 0.0  # when the next attempt in the background may begin
        self._failure = "", 0.0  # why there are none, and until when no new attempt is made

    async def current(self) -> SigningCredential:
        """The credentials. Raises Unavailable if they have expired and no others can be obtained."""
        held = self._credential
        if held is None or self._ends_in(_LEFT):
            return await self._awaited()
        if self._ends_in(None) and asyncio.get_running_loop().time() >= self._next:
            self._begun()
        return held

    def refused(self) -> None:
        """Have the whole chain searched anew before the next request: somebody may have put others there."""
        if self._attempt is None and asyncio.get_running_loop().time() >= self._next:
            self._found = self._credential = None

    def _ends_in(self, seconds: int | None) -> bool:
        """Whether the credentials at hand expire within so many seconds; None: within the time that botocore uses."""
        needed = getattr(self._found, "refresh_needed", None)
        return bool(needed is not None and needed(refresh_in=seconds))

    async def _awaited(self) -> SigningCredential:
        """The credentials from the attempt that is under way, or from a new one. Raises Unavailable, also if it takes
        too long.
        """
        now = asyncio.get_running_loop().time()
        failure, until = self._failure
        if self._attempt is None and now < until:
            raise Unavailable(failure)
        attempt = self._begun()
        try:
            async with asyncio.timeout_at(self._begun_at + _PATIENCE):
                return await asyncio.shield(attempt)
        except TimeoutError:
            raise _none(f"no answer within {_PATIENCE:.0f} s") from None
        except Unavailable as error:
            raise Unavailable(str(error)) from error  # a new exception for each waiting request

    def _begun(self) -> asyncio.Task[SigningCredential]:
        """The attempt that is under way; begins one if there is none."""
        if self._attempt is None:
            self._begun_at = asyncio.get_running_loop().time()
            self._attempt = asyncio.create_task(self._fresh())
            self._attempt.add_done_callback(self._ended)
        return self._attempt

    def _ended(self, attempt: asyncio.Task[SigningCredential]) -> None:
        self._attempt = None
        now = attempt.get_loop().time()
        self._next = now + _PAUSE
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            self._failure = str(error), now + _SHORT_PAUSE
            _log.warning("no new credentials for the backend: %s", error)

    async def _fresh(self) -> SigningCredential:
        try:
            async with asyncio.timeout(_LOST):
                self._credential = await self._asked()
        except TimeoutError:
            self._found = None  # the thread that hangs in it holds its lock
            raise _none(f"no answer within {_LOST:.0f} s") from None
        except _Unusable as error:
            self._found = None  # it would give the same again, for hours
            raise _none(str(error)) from None
        except Exception as error:  # the chain's sources raise anything: BotoCoreError, OSError, RuntimeError
            raise _none(_said(error)) from error
        return self._credential

    async def _asked(self) -> SigningCredential:
        if self._found is None:
            self._found = await _in_thread(_chain)
        if self._found is not None:
            return await _in_thread(partial(_usable, self._found))
        if self._own is None:
            raise RuntimeError("there are none any more")
        return self._own


async def find_credentials(own: SigningCredential) -> CredentialSource:
    """The credentials of botocore's chain, or ``own`` as long as it finds none.

    Raises StoreError if settings of the chain are wrong. If what the chain asks does not answer, or answers nonsense,
    it is asked again when credentials are needed.
    """
    from botocore.exceptions import BotoCoreError, CredentialRetrievalError

    reason = None
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await _in_thread(_chain)
        if found is not None and not hasattr(found, "refresh_needed"):
            _usable(found)  # these come from settings: checking them asks nobody
    except TimeoutError:
        reason = f"no answer within {_PATIENCE:.0f} s"
    except CredentialRetrievalError as error:
        reason = _said(error)
    except (BotoCoreError, OSError, _Unusable) as error:
        raise StoreError(f"the credentials for the backend: {_said(error)}") from error
    except Exception as error:  # the chain's way of failing at an answer that it does not expect
        reason = _said(error)
    if reason is not None:
        _log.warning("no credentials for the backend yet: %s", reason)
        return ChainedCredentials(None)
    if found is None:
        _log.info("the backend is asked with the gateway's own credentials")
        return ChainedCredentials(None, own)
    _log.info("the backend is asked with credentials of the AWS tools' chain", extra={"source": found.method})
    return ChainedCredentials(found)


def _chain() -> Any:
    from botocore.session import Session  # 100 ms, and only the S3 gateway needs it

    # This module logs the same in one line, without a traceback.
    logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
    return Session().get_credentials()


class _Unusable(Exception):
    """Credentials that no request can be signed with."""


def _usable(found: Any) -> SigningCredential:
    """The credentials that botocore's object holds now. Raises _Unusable, and what the chain raises."""
    frozen = found.get_frozen_credentials()
    access_key, secret_key, token = frozen.access_key, frozen.secret_key, frozen.token or None
    for name, value in (("access key", access_key), ("session token", token)):  # which go into headers
        if value is not None and not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise _Unusable(f"the {name} has characters that it cannot have: a line break at its end, say")
    if not access_key or not secret_key or not isinstance(secret_key, str):
        raise _Unusable("there is no access key or no secret key in them")
    return SigningCredential(access_key, Secret(secret_key), Secret(token) if token else None)


def _none(reason: str) -> Unavailable:
    return Unavailable(f"the credentials for the backend cannot be had: {reason}")


def _said(error: Exception) -> str:
    """What went wrong, in one line of limited length: the error's text may contain the whole answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    words = " ".join(str(error).split())[:_MAX_REASON]
    if isinstance(error, BotoCoreError | ClientError | OSError | RuntimeError | _Unusable):
        return words
    return f"what was found or answered makes no sense ({type(error).__name__}: {words})"


async def _in_thread(call: Callable[[], T]) -> T:
    """What ``call`` returns or raises, run in a thread of its own: if it hangs, it delays neither other work in threads
    nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(act: Callable[[], None]) -> None:
        if not answer.done():
            act()

    def work() -> None:
        try:
            act = partial(answer.set_result, call())
        except Exception as error:
            act = partial(answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, act)

    threading.Thread(target=work, name="credentials", daemon=True).start()
    return await answer
