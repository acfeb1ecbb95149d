"""The token of an AppRole: logs in, renews the token at half its life, logs in again when the token is dead.

Knows nothing of what the token is used for.

- A request never fails because a token ran out. If a call is denied, the Vault is asked whether the token is still
  alive; if it is not, the call is repeated with a new one, and once more if that one has ended meanwhile, too.
- If the token is alive, the policy denies the call, and that is the answer. If the token may not ask whether it is
  alive, a denial of a new token is taken for the answer, and for some seconds so are others: otherwise each of them
  would leave one more token in the Vault.
- A token keeps the policies that its role had at login. So after a denial it is replaced, not renewed, as soon as it is
  a minute old: what the role has been granted meanwhile takes effect then.
- A secret id that was refused is not tried over and over: Vaults lock a role out after five failures, for a quarter of
  an hour. Another secret id is tried at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.kms.base import KMSDenied, KMSError, KMSUnavailable, anew
from strongroom.secret import Secret

if TYPE_CHECKING:  # importing it loads aiohttp, for which a server without a Vault need not wait
    from strongroom.kms.vault_client import Answer, VaultClient

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 15.0
_FORBIDDEN = 403
_FIRST_REST = 5.0
_LONGEST_REST = 300.0
_DOUBT = 60.0
_FAREWELL = 2.0
_TOKEN = re.compile("[!-~]{1,4096}")  # what a header can hold, and any server accepts in one
_LONGEST_LIFE = 10**10  # seconds; some three centuries, the longest duration that a Vault can represent

_log = logging.getLogger("strongroom.kms")


@dataclass(frozen=True, slots=True)
class AppRole:
    """What we log in to a Vault with. ``secret_id`` is called at each login, so that a replaced one is picked up.

    It raises OSError or ValueError if there is none.
    """

    role_id: Secret
    secret_id: Callable[[], Secret]


@dataclass(frozen=True, slots=True)
class _Token:
    value: Secret
    life: float
    """Seconds from ``since`` on; 0 if the token does not expire."""
    since: float
    """When the token was asked for; the answer may have come much later."""
    first_life: float
    renewable: bool

    def due(self, doubted: bool) -> float | None:
        """When to renew the token, or, if it is ``doubted``, to replace it; None for never."""
        times = [self.since + self.life / 2] if self.life else []
        return min([*times, self.since + _DOUBT] if doubted else times, default=None)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A refused login. The same secret id is not tried for ``rest`` seconds: a few failures lock the role out."""

    secret_id: Secret
    reason: str
    since: float
    rest: float


class VaultSession:
    """A :class:`VaultClient`, and a token for it that is kept alive."""

    def __init__(self, client: VaultClient, role: AppRole) -> None:
        self.client = client
        self._role = role
        self._token: _Token | None = None
        self._login: asyncio.Task[_Token] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._failing = False
        self._doubted = False  # whether a call with this token was denied
        self._refusal: _Refusal | None = None
        self._in_vain = float("-inf")  # when a new token was last denied, too, and could not ask whether it is alive

    async def start(self) -> None:
        """Begin. It is no error if the Vault cannot be reached yet."""
        await self.client.start()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Give the token back, and close."""
        tasks = [task for task in (self._keeper, self._login) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._token is not None:
            await self._give_back(self._token)
            self._token = None
        await self.client.stop()

    async def _give_back(self, token: _Token) -> None:
        try:
            async with asyncio.timeout(_FAREWELL):
                await self.client.call("POST", "auth/token/revoke-self", {}, token.value)
        except (KMSError, TimeoutError):
            _log.debug("a token was not given back; it ends by itself")

    @property
    def life_left(self) -> float | None:
        """How many seconds the token still lives if it is not renewed; None without a token, or if it never expires."""
        token = self._token
        if token is None or not token.life:
            return None
        return max(0.0, token.since + token.life - asyncio.get_running_loop().time())

    async def post(self, path: str, body: Mapping[str, object]) -> Answer:
        """A call with the token. An answer with status 403 means that the policy denies it.

        Raises KMSUnavailable; KMSDenied if the Vault refuses the AppRole.
        """
        token = await self._log_in(None)
        for new in (False, True, True):
            answer = await self.client.call("POST", path, body, token.value)
            if answer.status != _FORBIDDEN:
                return answer
            if await self._alive(token):
                self._doubted = True
                self._changed.set()
                return answer
            if self._lasts(token):
                now = asyncio.get_running_loop().time()
                self._in_vain = now if new else self._in_vain
                if now < self._in_vain + _FIRST_REST:
                    return answer
            token = await self._log_in(token)
        raise self._unavailable("its tokens end before they are used")

    def _lasts(self, token: _Token) -> bool:
        """Whether this is the current token, and has not expired by the clock."""
        return self._has(token) and self.life_left != 0

    async def _alive(self, token: _Token) -> bool:
        return self._has(token) and await self._looks_at_itself(token)  # not the current one: replaced meanwhile

    async def _looks_at_itself(self, token: _Token) -> bool:
        return (await self.client.call("GET", "auth/token/lookup-self", None, token.value)).ok

    async def _log_in(self, spent: _Token | None) -> _Token:
        """A token other than ``spent``. All who ask for it at the same time share one login."""
        if self._token is not None and not (spent and self._has(spent)):
            return self._token
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._new_token())
            self._login.add_done_callback(_seen)
        try:
            return await asyncio.shield(self._login)
        except KMSError as error:
            raise anew(error) from error

    def _has(self, token: _Token) -> bool:
        """Whether this is the current token, renewed or not."""
        return self._token is not None and self._token.value == token.value

    async def _new_token(self) -> _Token:
        url = self.client.address.url
        try:
            secret_id = await asyncio.to_thread(self._role.secret_id)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise KMSDenied(f"cannot log in to the KMS at {url}: the secret id cannot be read: {reason}") from error
        now, former = asyncio.get_running_loop().time(), self._refusal
        if former is not None and former.secret_id != secret_id:
            former = None
        if former is not None and now < former.since + former.rest:
            raise KMSDenied(former.reason)
        body = {"role_id": _text(self._role.role_id), "secret_id": _text(secret_id)}
        answer = await self.client.call("POST", "auth/approle/login", body)
        if not answer.ok:
            reason = f"the KMS at {url} refuses the AppRole: {answer.reason}"
            rest = min(2 * former.rest, _LONGEST_REST) if former is not None else _FIRST_REST
            self._refusal = _Refusal(secret_id, reason, now, rest)
            raise KMSDenied(reason)
        self._refusal = None
        token = _token_of(answer, None, now)
        if token is None:
            raise self._unavailable("its login gives no token")
        self._keep_token(token)
        return token

    def _unavailable(self, reason: str) -> KMSUnavailable:
        return KMSUnavailable(f"the KMS at {self.client.address.url} is not available: {reason}")

    def _keep_token(self, token: _Token) -> None:
        if self._failing:
            _log.info("the KMS at %s has given a token", self.client.address.url)
        self._failing = False
        self._doubted = self._doubted and self._has(token)
        self._token = token
        self._changed.set()

    # -- renewing ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._until_due()
                await self._renew()
            except KMSError as error:
                if not self._failing:
                    _log.warning("no token of the KMS, or none that can be renewed (it is asked again): %s", error)
                self._failing = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE

    async def _until_due(self) -> None:
        """Wait until the current token is to be renewed or replaced. Returns at once if there is none."""
        while (token := self._token) is not None:
            self._changed.clear()
            due = token.due(self._doubted)
            left = due - asyncio.get_running_loop().time() if due is not None else None
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _renew(self) -> None:
        token = self._token
        if token is not None and self._doubted and await self._replaced(token):
            return
        if token is not None and token.renewable:
            renewed = await self._renewed(token)
            # If a renewal gives much less than the first life, the token nears the longest life that it may have.
            if renewed is not None and renewed.life >= token.first_life / 2:
                if self._token is token:
                    self._keep_token(renewed)
                return
        await self._log_in(token)

    async def _replaced(self, token: _Token) -> bool:
        """Replace this token by a new one, and give it back. Returns False, and keeps it, if the login is refused."""
        try:
            await self._log_in(token)
        except KMSDenied:
            return False
        await self._give_back(token)
        return True

    async def _renewed(self, token: _Token) -> _Token | None:
        asked_at = asyncio.get_running_loop().time()
        try:
            answer = await self.client.call("POST", "auth/token/renew-self", {}, token.value)
        except KMSUnavailable:
            return None  # OpenBao also answers 500 for a token past its longest life; a login shows which it is
        return _token_of(answer, token, asked_at)


def _token_of(answer: Answer, former: _Token | None, asked_at: float) -> _Token | None:
    value, life, renewable = (answer.auth.get(name) for name in ("client_token", "lease_duration", "renewable"))
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        return None
    if not isinstance(life, int) or not 0 <= life <= _LONGEST_LIFE:
        return None
    first = former.first_life if former else float(life)
    return _Token(Secret(value), float(life), asked_at, first, renewable is True)


def _seen(task: asyncio.Task[_Token]) -> None:
    """Take note of a failure, lest the event loop logs it if all who waited were cancelled."""
    if not task.cancelled():
        task.exception()


def _text(secret: Secret) -> str:
    return secret.reveal().decode("utf-8", "replace")
