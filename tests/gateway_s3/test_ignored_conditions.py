"""Backends that ignore conditions, or read them in their own way, as Ceph's gateway does: imitated with a MinIO of
today, which heeds them.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

import pytest

from strongroom.store.base import ALWAYS, Condition
from strongroom.store.errors import ConditionFailed, NoSuchObject, ObjectChanged, Refused
from strongroom.store.s3 import Client, S3Store
from strongroom.store.s3.messages import Answer, Request
from strongroom.store.s3.response import Response
from tests.backends import Backend
from tests.gateway_s3.opened import use_store
from tests.store.kinds import SEALED, get, put

MIB = 1024**2
SIZES = [1000, 6 * MIB, 13 * MIB]


class Careless(Client):
    """Ignores all conditions but those of a GET, and does not say what it is."""

    says_minio = False

    async def _once(self, request: Request, digest: str, lasting: bool = False) -> Response:
        response = await super()._once(replace(request, headers=self.heard(request)), digest, lasting)
        if not self.says_minio:
            response.headers.pop("server", None)
        return response

    def heard(self, request: Request) -> dict[str, str]:
        """The headers that it does not ignore."""
        if request.method in ("GET", "HEAD"):
            return dict(request.headers)
        return {name: value for name, value in request.headers.items() if "if-" not in name}


class OldMinIO(Careless):
    """A MinIO of before February 2023: checks conditions on the source of a copy, too."""

    says_minio = True

    def heard(self, request: Request) -> dict[str, str]:
        return {name: value for name, value in request.headers.items() if not name.startswith("if-")}


class Ceph(Careless):
    """Checks the conditions of a PUT, too, but compares an ETag with the header's value, quotes and all."""

    def heard(self, request: Request) -> dict[str, str]:
        wanted = {name: request.headers[name] for name in ("if-match", "if-none-match") if name in request.headers}
        if request.method != "PUT" or request.query or not wanted:
            return super().heard(request)
        if '"' in wanted.get("if-match", ""):
            wanted["if-match"] = '"another"'
        return {**super().heard(request), **wanted}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Careless, OldMinIO, Ceph])
def test_nothing_is_written_where_the_condition_does_not_hold(
    minio: Backend, bucket_name: str, kind: type[Client], size: int, caplog: pytest.LogCaptureFixture
) -> None:
    content, other = os.urandom(size), os.urandom(size)

    async def use(store: S3Store) -> None:
        old = await put(store, "o", other, SEALED, bucket=bucket_name)
        await put(store, "o", content, SEALED, bucket=bucket_name)
        for when in (Condition(absent=True), Condition(identity=old.identity)):
            with pytest.raises(ConditionFailed):
                await put(store, "o", other, SEALED, when, bucket=bucket_name)
            assert await get(store, "o", bucket_name) == content
        with pytest.raises(ConditionFailed):
            await put(store, "none", other, SEALED, Condition(identity=old.identity), bucket=bucket_name)
        with pytest.raises(NoSuchObject):
            await store.head(bucket_name, "none")

    use_store(minio, bucket_name, kind, use)
    assert caplog.text.count("ignores conditions of writes") == (kind is OldMinIO)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Careless, OldMinIO, Ceph])
def test_what_the_condition_allows_is_written(minio: Backend, bucket_name: str, kind: type[Client], size: int) -> None:
    content = os.urandom(size)

    async def use(store: S3Store) -> None:
        stored = await put(store, "o", os.urandom(size), SEALED, Condition(absent=True), bucket=bucket_name)
        await put(store, "o", content, SEALED, Condition(identity=stored.identity), bucket=bucket_name)
        for word in (b"one", b"two", b"three"):
            await store.rewrite(bucket_name, "o", {**SEALED, ":word": word}, None, ALWAYS)
            assert (await store.head(bucket_name, "o")).record[":word"] == word
            assert await get(store, "o", bucket_name) == content

    use_store(minio, bucket_name, kind, use)


@pytest.mark.parametrize("kind", [Careless, OldMinIO, Ceph])
def test_settings_of_a_bucket_are_changed_again_and_again(minio: Backend, bucket_name: str, kind: type[Client]) -> None:
    async def use(store: S3Store) -> None:
        for number in range(3):
            await store.set_bucket(bucket_name, f"setting-{number}", b"%d" % number)
        await store.set_bucket(bucket_name, "setting-1", None)
        assert await store.leave_setting(bucket_name, "setting-2", b"other") == b"2"
        assert await store.leave_setting(bucket_name, "setting-3", b"3") == b"3"
        assert (await store.bucket(bucket_name)).settings == {"setting-0": b"0", "setting-2": b"2", "setting-3": b"3"}

    use_store(minio, bucket_name, kind, use)


class Counted(Client):
    """Counts its requests."""

    sent = 0

    async def _once(self, request: Request, digest: str, lasting: bool = False) -> Response:
        self.sent += 1
        return await super()._once(request, digest, lasting)


def test_a_minio_that_heeds_conditions_is_asked_once_whether_it_does(minio: Backend, bucket_name: str) -> None:
    async def use(store: S3Store) -> None:
        assert isinstance(store.client, Counted)
        await put(store, "first", b"content", SEALED, Condition(absent=True), bucket=bucket_name)
        before = store.client.sent
        await put(store, "second", b"content", SEALED, Condition(absent=True), bucket=bucket_name)
        assert store.client.sent == before + 1

    use_store(minio, bucket_name, Counted, use)


@pytest.mark.parametrize(("size", "name"), [*[(size, "copy") for size in SIZES], (1000, "folder/")])
def test_the_bytes_of_another_object_are_not_copied_for_those_of_the_source(
    minio: Backend, bucket_name: str, size: int, name: str
) -> None:
    async def use(store: S3Store) -> None:
        old = os.urandom(size)
        await put(store, "source", old, SEALED, bucket=bucket_name)
        await put(store, name, b"before", SEALED, bucket=bucket_name)
        source = await store.open(bucket_name, "source")
        await source.close()
        await put(store, "source", os.urandom(size), SEALED, bucket=bucket_name)
        with contextlib.suppress(ObjectChanged):  # the bytes of a small object are here already
            await store.copy(source, bucket_name, name, SEALED, b"")
        assert await get(store, name, bucket_name) in (b"before", old)
        source = await store.open(bucket_name, "source")
        await store.copy(source, bucket_name, name, SEALED, b"")
        assert await get(store, name, bucket_name) == await get(store, "source", bucket_name)

    use_store(minio, bucket_name, Careless, use)


class ShortSource(Client):
    """Complains of the range of a copy whose source has become shorter before it looks at the condition."""

    async def send(self, request: Request) -> Answer:
        if "x-amz-copy-source-range" in request.headers:
            said = "The specified copy range is invalid for the source object size"
            raise Refused(400, "InvalidRequest", said, str(request))
        return await super().send(request)


def test_a_source_that_has_become_shorter_was_replaced(minio: Backend, bucket_name: str) -> None:
    async def use(store: S3Store) -> None:
        await put(store, "source", os.urandom(13 * MIB), SEALED, bucket=bucket_name)
        source = await store.open(bucket_name, "source")
        await source.close()
        with pytest.raises(ObjectChanged):
            await store.copy(source, bucket_name, "copy", SEALED, b"", Condition(absent=True))

    use_store(minio, bucket_name, ShortSource, use)
