"""The guard of writes to a place that others write to: they must all seal under the same KMS.

The first writer leaves a check value (see :mod:`strongroom.sealed.check`) in the bucket; whoever cannot open it is
refused, before a byte is written that the others could not read.
"""

from __future__ import annotations

import logging
import time

from strongroom.kms.base import KMS, KMSError
from strongroom.kms.master import MasterKey
from strongroom.sealed.check import CheckDamaged, ForeignKMS, make_check, renewed, verify_check
from strongroom.sealed.remembered import Lately
from strongroom.store.base import CheckPlace

_log = logging.getLogger("strongroom.sealed")

_SECONDS = 300.0
"""How long a check is remembered: a bucket may be removed and made anew by another."""

_ATTEMPTS = 3
_PLACE = "bucket"


class WriteGuard:
    """Lets writes to a bucket pass. ``place`` keeps the check values."""

    def __init__(self, kms: KMS, place: CheckPlace) -> None:
        self._kms = kms
        self._place = place
        self._admitted: Lately[str, None] = Lately(_SECONDS)

    async def admit(self, bucket: str) -> None:
        """Raises ForeignKMS, CheckDamaged, KMSError, NoSuchBucket.

        A bucket that was admitted before stays so while the KMS does not let the check value be opened: its master key
        may be disabled, and that of what is written now be another.
        """
        now = time.monotonic()
        if self._admitted.holds(bucket, now):
            return
        try:
            await self._verify(bucket)
        except KMSError:
            if bucket not in self._admitted:
                raise
        except (ForeignKMS, CheckDamaged) as error:
            _log.error("writes to a bucket are refused", extra={"bucket": bucket, "reason": str(error)})
            raise
        self._admitted.keep(bucket, None, now)

    def forget(self, bucket: str) -> None:
        """Of a bucket that is removed, or made anew: its check value went with it."""
        self._admitted.forget(bucket)

    async def renew(self, bucket: str, active: MasterKey) -> None:
        """Seal the check value of a bucket anew, where there is one that is not sealed under ``active``.

        Raises as :meth:`admit` does.
        """
        document = await self._place.read_check(bucket)
        if document is not None and (fresh := await renewed(self._kms, _PLACE, document, active)):
            await self._place.replace_check(bucket, fresh)

    async def _verify(self, bucket: str) -> None:
        for _ in range(_ATTEMPTS):
            document = await self._place.read_check(bucket)
            if document is not None:
                await verify_check(self._kms, _PLACE, document)
                return
            if await self._place.leave_check(bucket, await make_check(self._kms, _PLACE)):
                return
        raise CheckDamaged("the check value comes and goes")
