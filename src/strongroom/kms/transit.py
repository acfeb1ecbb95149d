"""The transit KMS: master keys in Vault or OpenBao, which wraps and unwraps data keys. They never leave it.

Data keys that are asked for at the same time go out in one call. A new data key is 32 random bytes made here and
wrapped by ``transit/encrypt``, many in a call; if the policy does not grant that, ``transit/datakey/plaintext`` makes
it. Which of the two works is found out by trying, and the other is tried whenever the KMS denies one.

The context of a data key is sent as associated data, so that the KMS enforces it. Some Vaults do not support that
(``datakey`` of Vault; everything before Vault 1.13): before a worker wraps its first key, it tries whether its Vault
does. Keys that are wrapped without it have a provider name of their own, so that how to unwrap a key is never guessed;
keys that MinIO's 2019 release left have that name, too.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TypeVar

from strongroom.kms import transit_wire as wire
from strongroom.kms.base import (
    Context,
    DataKey,
    KMSDenied,
    KMSError,
    KMSStatus,
    KMSUnavailable,
    NoSuchKey,
    WrappedKey,
    WrappedKeyInvalid,
    anew,
    context_bytes,
)
from strongroom.kms.gathering import CALLS, Gatherer
from strongroom.kms.transit_wire import Item
from strongroom.kms.vault_token import VaultSession
from strongroom.legacy.context import context_forms

PROVIDER = "transit"
"""The provider of data keys whose context the KMS enforces, as associated data."""

PROVIDER_UNBOUND = "transit-context"
"""The provider of data keys that were wrapped without associated data: only a transit key with key derivation looks at
their context.
"""

_T = TypeVar("_T")
_Make = Callable[[Sequence[Item]], Awaitable[Sequence[tuple[bytes, bytes]]]]
"""Makes a data key for each item: its plaintext and its wrapped form."""

_TRIAL = {"strongroom": "trial"}
_DATAKEYS_AT_ONCE = 16
_FEW_CALLS = 2


class _Way:
    """One way to make data keys, and whether the KMS enforces their context that way, which is tried once."""

    def __init__(self, make: _Make) -> None:
        self.make = make
        self._bound: bool | None = None
        self._trials: dict[str, asyncio.Task[bool]] = {}  # under way, by master key

    async def bound(self, key: str, attempt: Callable[[str, _Make], Coroutine[None, None, bool]]) -> bool:
        """Whether the KMS enforces the context. Raises KMSError if that cannot be tried with ``key`` now.

        All who ask at the same time share one trial: with one each, they would wait long for a KMS that denies it.
        """
        if self._bound is not None:
            return self._bound
        trial = self._trials.get(key)
        if trial is None:
            trial = self._trials[key] = asyncio.create_task(attempt(key, self.make))
            trial.add_done_callback(partial(self._tried, key))
        try:
            return await asyncio.shield(trial)
        except KMSError as error:
            raise anew(error) from None
        except asyncio.CancelledError:
            self._drop(key, trial)  # it took too long for one caller: whoever comes next tries again
            raise

    def _tried(self, key: str, trial: asyncio.Task[bool]) -> None:
        self._drop(key, trial)
        if not trial.cancelled() and trial.exception() is None:
            self._bound = trial.result()

    def _drop(self, key: str, trial: asyncio.Task[bool]) -> None:
        if self._trials.get(key) is trial:
            del self._trials[key]


class TransitKMS:
    """Wraps new data keys with version ``version`` (0: the latest) of the transit key ``key_id``; or, if asked to, with
    the latest version of another one, which the policy must grant.

    Unwraps what any version of any transit key has wrapped that the policy grants.
    """

    def __init__(self, session: VaultSession, key_id: str, version: int = 0) -> None:
        self._session = session
        self._key_id = key_id
        self._version = version
        self._url = session.client.address.url
        self._longest = session.client.address.longest
        self._pace = session.client.pace
        self._wraps: Gatherer[Item, bytes | KMSError] = Gatherer(self._encrypt, wire.MOST, self._calls)
        self._unwraps: Gatherer[Item, bytes | KMSError] = Gatherer(self._decrypt, wire.MOST, self._calls)
        self._datakeys = asyncio.Semaphore(_DATAKEYS_AT_ONCE)
        self._ways: tuple[_Way, _Way] = (_Way(self._by_encrypt), _Way(self._by_datakey))

    @property
    def key_id(self) -> str:
        """The name of the transit key that wraps, unless another is asked for."""
        return self._key_id

    async def start(self) -> None:
        """Begin to log in. It is no error if the KMS cannot be reached yet."""
        await self._session.start()

    async def stop(self) -> None:
        """Close connections; give the token back."""
        await self._wraps.stop()
        await self._unwraps.stop()
        await self._session.stop()

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """No: a master key never leaves the KMS."""
        return False

    async def status(self) -> KMSStatus:
        """Wrap a data key and unwrap it."""
        begun = asyncio.get_running_loop().time()
        error: str | None = None
        try:
            (made,) = await self.generate([_TRIAL])
            (opened,) = await self.unwrap([(made.wrapped, _TRIAL)])
            if isinstance(opened, KMSError):
                error = str(opened)
            elif not hmac.compare_digest(opened, made.plaintext):
                error = "a key that was wrapped unwraps as another"
        except KMSError as failed:
            error = str(failed)
        seconds = asyncio.get_running_loop().time() - begun
        return KMSStatus(PROVIDER, self._key_id, error, self._url, self._session.life_left, seconds)

    # -- unwrapping ----------------------------------------------------------------------------------------------------

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """Open wrapped keys. Returns for each the data key, or why it did not open."""
        found = await self._unwrap([(wrapped, context_bytes(context)) for wrapped, context in keys])
        again = [
            (index, form)
            for index, (wrapped, context) in enumerate(keys)
            if isinstance(found[index], WrappedKeyInvalid) and wrapped.provider == PROVIDER_UNBOUND
            for form in context_forms(context)
            if form != context_bytes(context)
        ]
        if again:
            # MinIO's releases encoded some names differently, and with key derivation every byte of the context counts.
            answers = await self._unwrap([(keys[index][0], form) for index, form in again])
            for (index, _), answer in zip(again, answers, strict=True):
                if isinstance(found[index], KMSError) and not isinstance(answer, WrappedKeyInvalid):
                    found[index] = answer
        return found

    async def _unwrap(self, keys: Sequence[tuple[WrappedKey, bytes]]) -> list[bytes | KMSError]:
        found: list[bytes | KMSError | None] = []
        items = []
        for wrapped, context in keys:
            item = self._item(wrapped, context)
            found.append(item if isinstance(item, KMSError) else None)
            if isinstance(item, Item):
                items.append(item)
        try:
            answers = iter(await self._in_time(self._unwraps.ask(items)))
        except KMSError as error:
            answers = iter([anew(error) for _ in items])
        return [next(answers) if known is None else known for known in found]

    def _item(self, wrapped: WrappedKey, context: bytes) -> Item | KMSError:
        if wrapped.provider not in (PROVIDER, PROVIDER_UNBOUND) or not wire.is_key_name(wrapped.key_id):
            return NoSuchKey(f"no master key {wrapped.key_id!r} of provider {wrapped.provider!r} is configured")
        if not wire.is_ciphertext(wrapped.ciphertext):
            return WrappedKeyInvalid(f"a data key wrapped by {wrapped.key_id!r} is damaged")
        return Item(wrapped.key_id, context, wrapped.provider == PROVIDER, wrapped=wrapped.ciphertext)

    async def _decrypt(self, items: Sequence[Item]) -> Sequence[bytes | KMSError]:
        return await self._by_key("decrypt", items)

    # -- wrapping ------------------------------------------------------------------------------------------------------

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """A new data key for each context, wrapped by ``encrypt`` or by ``datakey``, whichever the policy grants."""
        key = key_id or self._key_id
        if not wire.is_key_name(key):
            raise NoSuchKey(f"no master key {key!r}: a transit key cannot have this name")
        first, second = self._ways
        try:
            return await self._in_time(self._generate(first, contexts, key))
        except KMSDenied as denied:
            try:
                made = await self._in_time(self._generate(second, contexts, key))
            except KMSDenied:
                raise denied from None  # of the usual way
        if key == self._key_id:  # which way the policy grants for another key says nothing about this one
            self._ways = (second, first)
        return made

    async def _generate(self, way: _Way, contexts: Sequence[Context], key: str) -> Sequence[DataKey]:
        bound = await way.bound(key, self._try)
        items = [Item(key, context_bytes(context), bound) for context in contexts]
        provider = PROVIDER if bound else PROVIDER_UNBOUND
        made = await way.make(items)
        version = self._version_of(key)
        if version and any(wire.version_of(wrapped) != version for _, wrapped in made):
            # Older Vaults' datakey ignores the version and takes the latest.
            raise NoSuchKey(
                f"the KMS at {self._url} does not wrap with version {version} of the master key {key!r}"
                " (MINIO_SSE_VAULT_KEY_VERSION) where it makes data keys: grant transit/encrypt"
            )
        return [DataKey(plaintext, WrappedKey(provider, key, wrapped)) for plaintext, wrapped in made]

    async def _by_encrypt(self, items: Sequence[Item]) -> Sequence[tuple[bytes, bytes]]:
        secrets = [os.urandom(wire.DATA_KEY) for _ in items]
        asked = [
            Item(item.key, item.context, item.bound, secret=secret) for item, secret in zip(items, secrets, strict=True)
        ]
        wrapped = await self._wraps.ask(asked)
        return [(secret, _or_raise(answer)) for secret, answer in zip(secrets, wrapped, strict=True)]

    async def _encrypt(self, items: Sequence[Item]) -> Sequence[bytes | KMSError]:
        return await self._by_key("encrypt", items)

    async def _by_datakey(self, items: Sequence[Item]) -> Sequence[tuple[bytes, bytes]]:
        return await asyncio.gather(*map(self._datakey, items))

    async def _datakey(self, item: Item) -> tuple[bytes, bytes]:
        async with self._datakeys:
            answer = await self._session.post(
                f"transit/datakey/plaintext/{item.key}", wire.datakey(item, self._version_of(item.key))
            )
        if not answer.ok:
            raise wire.refusal(answer, item.key, self._url)
        plaintext, wrapped = wire.plaintext_in(answer.data, self._url), wire.ciphertext_in(answer.data, self._url)
        return _or_raise(plaintext), _or_raise(wrapped)

    async def _try(self, key: str, make: _Make) -> bool:
        """Whether the KMS enforces the context of data keys that are made this way. Raises KMSError.

        It is tried with ``key``, which is about to be used: another may be disabled, or not granted.
        """
        right, wrong = context_bytes(_TRIAL), context_bytes({"strongroom": "another"})
        ((plaintext, wrapped),) = await make([Item(key, right, bound=True)])
        trials = [Item(key, context, bound, wrapped=wrapped) for context, bound in (
            (right, True), (wrong, True), (right, False),
        )]  # fmt: skip
        answers = await self._decrypt(trials)
        for answer in answers:
            if isinstance(answer, KMSError) and not isinstance(answer, WrappedKeyInvalid):
                raise answer
        opened = tuple(isinstance(a, bytes) and hmac.compare_digest(a, plaintext) for a in answers)
        if opened == (True, False, False):
            return True
        # Only the last opened: this way of wrapping ignores associated data. All opened: the whole KMS ignores it (with
        # key derivation, the second does not open then).
        if opened[2]:
            return False
        raise KMSUnavailable(f"the KMS at {self._url} is not available: it does not unwrap what it wrapped")

    # -- both ----------------------------------------------------------------------------------------------------------

    async def _by_key(self, operation: str, items: Sequence[Item]) -> Sequence[bytes | KMSError]:
        """One call for each master key, with all its data keys; the calls run at the same time."""
        by_key: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            by_key.setdefault(item.key, []).append(index)
        found: list[bytes | KMSError] = [NoSuchKey("")] * len(items)
        groups = list(by_key.values())
        answers = await asyncio.gather(*(self._batch(operation, [items[i] for i in group]) for group in groups))
        for group, rows in zip(groups, answers, strict=True):
            for index, row in zip(group, rows, strict=True):
                found[index] = row
        return found

    async def _batch(self, operation: str, items: Sequence[Item]) -> Sequence[bytes | KMSError]:
        """One call for data keys of one master key."""
        key = items[0].key
        try:
            body = wire.batch(items, self._version_of(key))
            answer = await self._session.post(f"transit/{operation}/{key}", body)
            return wire.results(answer, items, self._url)
        except KMSError as error:
            return [anew(error) for _ in items]

    def _calls(self) -> int:
        """How many calls may be on their way: few while the KMS limits their rate, so that more data keys share one."""
        return _FEW_CALLS if self._pace.busy else CALLS

    def _version_of(self, key: str) -> int:
        """The version of a transit key that is to wrap: the version in the settings is for the key in the settings."""
        return self._version if key == self._key_id else 0

    async def _in_time(self, answer: Awaitable[_T]) -> _T:
        """The answer. Raises KMSUnavailable if it takes too long, including the wait for its turn."""
        try:
            async with asyncio.timeout(self._longest):
                return await answer
        except TimeoutError:
            why = f" ({self._pace.reason})" if self._pace.busy else ""
            raise KMSUnavailable(
                f"the KMS at {self._url} is not available: no answer within {self._longest:g} s{why}"
            ) from None


def _or_raise(answer: bytes | KMSError) -> bytes:
    if isinstance(answer, KMSError):
        raise answer
    return answer
