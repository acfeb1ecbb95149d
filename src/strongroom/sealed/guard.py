"""Guards writes to buckets that several gateways write to: all must seal under keys of the same KMS.

The first writer leaves a check value (see :mod:`strongroom.sealed.check`) in the bucket; whoever cannot open it is
refused before writing a byte that the others could not read.
"""

from __future__ import annotations

import hashlib
import logging
import time

from strongroom.kms.base import KMS, KMSError
from strongroom.kms.master import MasterKey
from strongroom.sealed.check import CheckDamaged, ForeignKMS, make_check, renewed, verify_check
from strongroom.sealed.remembered import Lately
from strongroom.store.base import BucketChecks

_log = logging.getLogger("strongroom.sealed")

_SECONDS = 300.0
"""How long a check is remembered: a bucket may be removed and made anew by another."""

_ATTEMPTS = 3
_PLACE = "bucket"


class WriteGuard:
    """Admits or refuses writes to buckets. ``checks`` keeps the check values."""

    def __init__(self, kms: KMS, checks: BucketChecks) -> None:
        self._kms = kms
        self._checks = checks
        self._admitted: Lately[str, bytes] = Lately(_SECONDS)  # bucket: SHA-256 of its check value

    async def admit(self, bucket: str) -> None:
        """Admit writes to a bucket. Raises ForeignKMS, CheckDamaged, KMSError, NoSuchBucket.

        A bucket that was admitted before stays admitted while the KMS does not open the same check value: its master
        key may be disabled, and what is written now may be under another one.
        """
        now = time.monotonic()
        if self._admitted.holds(bucket, now):
            return
        try:
            digest = await self._verify(bucket)
        except (ForeignKMS, CheckDamaged) as error:
            _log.error("writes to a bucket are refused", extra={"bucket": bucket, "reason": str(error)})
            raise
        self._admitted.keep(bucket, digest, now)

    def forget(self, bucket: str) -> None:
        """Forget a bucket that was removed, or made anew: its check value went with it."""
        self._admitted.forget(bucket, time.monotonic())

    async def examine(self, bucket: str) -> MasterKey | None:
        """The master key that opens the check value of a bucket; None if the bucket has no check value.

        Raises as :meth:`admit` does.
        """
        document = await self._checks.read_check(bucket)
        return None if document is None else await verify_check(self._kms, _PLACE, document)

    async def renew(self, bucket: str, active: MasterKey) -> None:
        """Seal the check value of a bucket anew, if it has one that is not sealed under ``active``.

        Raises as :meth:`admit` does.
        """
        document = await self._checks.read_check(bucket)
        if document is not None and (fresh := await renewed(self._kms, _PLACE, document, active)):
            await self._checks.replace_check(bucket, fresh)

    async def _verify(self, bucket: str) -> bytes:
        for _ in range(_ATTEMPTS):
            document = await self._checks.read_check(bucket)
            if document is not None:
                digest = hashlib.sha256(document).digest()
                try:
                    await verify_check(self._kms, _PLACE, document)
                except KMSError:
                    if bucket not in self._admitted or self._admitted.known(bucket) != digest:
                        raise  # an unknown check value may be that of a bucket made anew under another KMS
                return digest
            made = await make_check(self._kms, _PLACE)
            if await self._checks.leave_check(bucket, made):
                return hashlib.sha256(made).digest()
        raise CheckDamaged("the check value comes and goes")
