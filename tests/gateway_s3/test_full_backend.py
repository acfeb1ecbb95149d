"""A gateway before a backend whose disk is full, which versitygw says in other words than MinIO and Strongroom."""

from __future__ import annotations

from pathlib import Path

from tests.backends import Backend, served_by
from tests.http.raw import error_of
from tests.mounts import small_file_system

MIB = 1024**2


def test_that_the_backend_is_full_is_said_as_a_server_says_it(tmp_path: Path) -> None:
    home, full = tmp_path / "backend", ("XMinioStorageFull", 507)
    with (
        small_file_system(home, 20),
        Backend("versitygw", home) as backend,
        served_by(backend, tmp_path, {}, workers=1) as gateway,
    ):
        client = gateway.client()
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="kept", Body=b"kept")
        (home / "filling").write_bytes(bytes(18 * MIB))
        assert error_of(client.put_object, Bucket="bucket", Key="small", Body=bytes(5 * MIB)) == full
        assert error_of(client.put_object, Bucket="bucket", Key="large", Body=bytes(25 * MIB)) == full
        assert client.get_object(Bucket="bucket", Key="kept")["Body"].read() == b"kept"
