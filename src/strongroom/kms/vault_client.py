"""HTTP calls to Vault or OpenBao, and their answers. Knows nothing of tokens' lives, of transit or of data keys.

If no Vault answers in time (no connection, a time-out, something that is not its JSON, more than it would ever send, a
server error), that is KMSUnavailable. A refusal is an answer, with a status.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from strongroom import __version__
from strongroom.kms.base import KMSUnavailable
from strongroom.kms.pace import Pace
from strongroom.kms.vault_connections import TooMuch, VaultConnector
from strongroom.kms.vault_tls import BadTLSFile, trusting
from strongroom.secret import Secret

_log = logging.getLogger("strongroom.kms")

_MAX_REASON = 300
_MOST_REASONS = 10
_CONNECT_SHARE = 0.5
_NOT_NOW = (412, 429)  # the Vault works, but is overloaded, or has not caught up with the active node yet
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds to wait for a Vault that is away, before each further attempt
_RETRY_AFTER = re.compile("[0-9]{1,9}")
_SECRETS = ("role_id", "secret_id", "plaintext")
_LEAST_SECRET = 8  # characters of what is taken out of a refusal: less is no secret, and may stand in any text


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where a Vault is, how to trust it, and how to identify ourselves.

    ``url`` is ``https://HOST:PORT``, with a path if a proxy in front needs one; ``namespace`` is "" for none;
    ``ca_path``, ``client_certificate`` and ``client_key`` are those of :func:`strongroom.kms.vault_tls.trusting`;
    ``timeout`` is the longest that one call may take, in seconds; ``patience``: for how many seconds a call is repeated
    while the Vault says "not now", if that is longer than ``timeout``. With any patience, a Vault that has answered
    before, and is away for a moment, is waited for as well.
    """

    url: str
    namespace: str = ""
    ca_path: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    timeout: float = 10.0
    patience: float = 0.0

    @property
    def longest(self) -> float:
        """The longest that a caller may have to wait, in seconds."""
        return max(self.timeout, self.patience)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Vault answered: the HTTP status and the JSON document, which may hold secrets.

    ``retry_after``: how many seconds it says to wait before it is asked again; None if it does not say.
    """

    status: int
    document: Mapping[str, object] = field(repr=False)
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the Vault did what it was asked for."""
        return 200 <= self.status < 300

    @property
    def data(self) -> Mapping[str, object]:
        """The ``data`` of the answer, {} if there are none."""
        return _mapping(self.document.get("data"))

    @property
    def auth(self) -> Mapping[str, object]:
        """The ``auth`` of the answer: the token that was given or renewed; {} if there is none."""
        return _mapping(self.document.get("auth"))

    @property
    def reason(self) -> str:
        """Why the Vault refused, in its own words on one line; the status if it gives no reason."""
        errors = self.document.get("errors")
        said = errors[:_MOST_REASONS] if isinstance(errors, list) else []
        words = " ".join(error[:_MAX_REASON] for error in said if isinstance(error, str))
        return " ".join(words.split())[:_MAX_REASON] or f"status {self.status}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


@dataclass(slots=True)
class _Connections:
    """Connections that are kept, and how many calls are under way over them."""

    session: aiohttp.ClientSession
    calls: int = 0
    left: bool = False

    async def end(self) -> None:
        """Close them if they were left and no call needs them any more."""
        if self.left and not self.calls:
            await self.session.close()


class VaultClient:
    """Calls one Vault, over connections that it keeps. To be used in the event loop that called :meth:`start`.

    They are kept while a working Vault answers over them. After a failure, new ones are made: another node may have its
    name or address by now, while the old connections would still lead to one that is sealed or gone.
    """

    def __init__(self, address: VaultAddress) -> None:
        """Raises BadTLSFile."""
        self.address = address
        self._url = f"{address.url}/v1/"
        self._tls: ssl.SSLContext | None = None
        if address.url.startswith("https:"):
            self._tls = self._trusting()
        self._unread = ""  # why the files for TLS could not be read again the last time
        self._connections: _Connections | None = None
        self._answered = False
        self.pace = Pace()

    async def start(self) -> None:
        """Begin; no connection is made yet."""
        self._connections = _Connections(self._session())

    def _trusting(self) -> ssl.SSLContext:
        return trusting(self.address.ca_path, self.address.client_certificate, self.address.client_key)

    def _session(self) -> aiohttp.ClientSession:
        headers = {"X-Vault-Request": "true", "User-Agent": f"strongroom/{__version__}", "Accept-Encoding": "identity"}
        if self.address.namespace:
            headers["X-Vault-Namespace"] = self.address.namespace
        return aiohttp.ClientSession(
            connector=VaultConnector(self._tls),
            headers=headers,
            auto_decompress=False,  # compression was not asked for, and a small answer could expand without limit
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self.address.timeout, sock_connect=self.address.timeout * _CONNECT_SHARE
            ),
        )

    async def stop(self) -> None:
        """Close all connections."""
        if self._connections is not None:
            await self._connections.session.close()
            self._connections = None

    def _leave(self, connections: _Connections) -> None:
        """Make new connections from now on. These are closed when the calls over them have ended."""
        if connections is self._connections:
            self._connections = _Connections(self._session())
            connections.left = True

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        token: Secret | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """One call; ``path`` is what follows ``/v1/``. Raises KMSUnavailable.

        It is repeated, after a pause, while the Vault says "not now". If it is ``repeatable``, it is also repeated once
        if the Vault closes the connection, since one that was kept may turn out to be gone; and, with patience, several
        times while the Vault is away.
        """
        headers = {"X-Vault-Token": token.reveal().decode("ascii", "replace")} if token else {}
        content = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + self.address.longest
        while True:
            await self._turn(deadline)
            answer = await self._patiently(method, path, content, headers, repeatable)
            if answer.status not in _NOT_NOW:
                self.pace.answered()
                return answer
            self.pace.refused(answer.reason, answer.retry_after)

    async def _turn(self, deadline: float) -> None:
        """Wait until a call may go out. Raises KMSUnavailable if that would be after the deadline."""
        while left := self.pace.turn():
            if time.monotonic() + left > deadline:
                raise self._unavailable(f"{self.pace.reason}; it is asked again in {left:.1f} s")
            await asyncio.sleep(left)

    async def _patiently(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str], repeatable: bool
    ) -> Answer:
        """As :meth:`_answer`; whoever has patience waits for a Vault that is started anew, or follows another node."""
        for pause in _PAUSES if self.address.patience and self._answered and repeatable else ():
            try:
                return await self._answer(method, path, content, headers, repeatable)
            except KMSUnavailable:
                await asyncio.sleep(pause)
        answer = await self._answer(method, path, content, headers, repeatable)
        self._answered = True
        return answer

    async def _answer(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str], repeatable: bool
    ) -> Answer:
        for last in (False, True) if repeatable else (True,):
            try:
                return await self._exchange(method, path, content, headers)
            except TimeoutError:
                raise self._unavailable(f"no answer within {self.address.timeout:g} s") from None
            except aiohttp.ClientConnectorError as error:
                raise self._unavailable(_said(error)) from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
                if last:
                    why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
                    raise self._unavailable(f"it closed the connection{why}") from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._unavailable(_said(error)) from None  # the error holds the malformed bytes: maybe secrets
        raise AssertionError("not reached")

    async def _exchange(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Answer:
        """One exchange. If no working Vault answered, its connections are left."""
        connections = self._connections
        assert connections is not None, "start() comes first"
        connections.calls += 1
        try:
            return await self._exchange_over(connections.session, method, path, content, headers)
        except (KMSUnavailable, aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientSSLError) or isinstance(error.__cause__, ssl.SSLError):
                await self._trust_anew()
            self._leave(connections)
            raise
        finally:
            connections.calls -= 1
            await connections.end()

    async def _trust_anew(self) -> None:
        """Read the files for TLS again: maybe one of the two certificates has expired, and they hold a new one by now.
        If they cannot be used, what was read before stays in use, and the log says why, once.
        """
        try:
            self._tls, unread = await asyncio.to_thread(self._trusting), ""
        except BadTLSFile as error:
            unread = str(error)
            if unread != self._unread:
                _log.warning("TLS to the KMS failed, and its files cannot be read again", extra={"reason": unread})
        self._unread = unread

    async def _exchange_over(
        self, session: aiohttp.ClientSession, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> Answer:
        async with session.request(
            method, self._url + path, data=content, headers=headers, allow_redirects=False
        ) as response:
            if 300 <= response.status < 400:
                raise self._unavailable("it redirects elsewhere; give the address of the active node")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self._unavailable("its answer is compressed, which was not asked for")
            said = response.headers.get("retry-after", "")
            retry_after = float(said) if _RETRY_AFTER.fullmatch(said) else None
            document = self._parsed(await response.read(), response.status)
            if response.status >= 400:  # whoever refuses (a proxy, say) may repeat what was sent, and the log shows why
                sent = json.loads(content) if content else None
                document = _without(document, (headers.get("X-Vault-Token", ""), *_secrets(sent)))
            answer = Answer(response.status, document, retry_after)
        if answer.status >= 500:
            raise self._unavailable(answer.reason)
        return answer

    def _parsed(self, content: bytes, status: int) -> Mapping[str, object]:
        if not content and status != 200:
            return {}
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._unavailable(f"what answers there (status {status}) is no Vault")
        return document

    def _unavailable(self, reason: str) -> KMSUnavailable:
        return KMSUnavailable(f"the KMS at {self.address.url} is not available: {reason}")


def _secrets(sent: object) -> Iterator[str]:
    """The secrets in what is sent: those to log in with, and data keys that are to be wrapped."""
    if isinstance(sent, list):
        for item in sent:
            yield from _secrets(item)
    elif isinstance(sent, dict):
        for name, value in sent.items():
            if name in _SECRETS and isinstance(value, str):
                yield value
            else:
                yield from _secrets(value)


def _without(document: Mapping[str, object], secrets: Iterable[str]) -> Mapping[str, object]:
    """A refusal in which no secret is repeated, however its JSON writes it; {} if that cannot be seen to."""
    try:
        text = whole = json.dumps(document, ensure_ascii=False)
        for secret in secrets:
            if len(secret) >= _LEAST_SECRET:
                text = text.replace(json.dumps(secret, ensure_ascii=False)[1:-1], "[redacted]")
        return document if text == whole else _mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _said(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorSSLError):  # its number is OpenSSL's, not an errno
        return f"it does not speak TLS as this server does ({error.os_error.strerror or error.os_error})"
    if isinstance(error, TooMuch):
        return str(error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return "its answer broke off, or cannot be decoded"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno  # asyncio's text only repeats the address, which the message has already
        said = os.strerror(number) if number and number > 0 else error.os_error.strerror or str(error.os_error)
        return said or "it closed the connection before TLS was agreed upon"  # asyncio's error has no text then
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"what answers there does not speak HTTP ({type(error).__name__})"
