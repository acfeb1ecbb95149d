"""Tags, where the storage fails in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.sealed.store import SealedStore
from strongroom.store.errors import ConditionFailed, ObjectChanged
from strongroom.store.local import LocalStore
from tests.kms.elsewhere import KMSElsewhere
from tests.sealed.test_listing import put, with_kms


def test_a_storage_that_never_finds_its_own_condition_met_keeps_no_request_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*given: object) -> None:
        raise ConditionFailed("another ETag")

    monkeypatch.setattr(LocalStore, "rewrite", refuse)

    async def work(store: SealedStore) -> None:
        await put(store, "key")
        with pytest.raises(ObjectChanged):
            await store.set_tags("bucket", "key", "a=b", 1)

    with_kms(KMSElsewhere(), tmp_path, work)
