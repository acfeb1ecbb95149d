"""How many buckets there may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.s3.call import Call
from strongroom.s3.cors import CrossOrigin
from strongroom.s3.errors import S3Error
from strongroom.s3.handlers import buckets
from strongroom.s3.handlers.buckets import BucketHandlers
from strongroom.s3.shapes import CreateBucketRequest
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from tests.s3.test_copies import call
from tests.sealed.test_listing import with_kms


def test_no_more_buckets_are_made_than_a_page_of_them_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_BUCKETS", 2)

    async def work(store: SealedStore) -> None:
        handlers = BucketHandlers(store, "us-east-1", False, CrossOrigin(store, (), of_buckets=False, seconds=0))

        async def create(name: str) -> None:
            asked: Call = call()
            asked.bucket = name
            await handlers.create_bucket(asked, CreateBucketRequest(bucket=name))

        await create("another")
        with pytest.raises(S3Error) as refused:
            await create("one-too-many")
        assert refused.value.code == "TooManyBuckets"
        assert [bucket.name for bucket in await store.buckets()] == ["another", "bucket"]

    with_kms(StaticKMS("key", Secret(bytes(32))), tmp_path, work)
