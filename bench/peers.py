"""The servers that are compared, and how each is started: with the same cores, and with what it writes made durable
as far as it can do that.

MinIO and versitygw come from the packages that ``tools/go`` pins.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.session import Session

from bench import certificate, openbao
from bench.processes import Running

ACCESS_KEY, SECRET_KEY = "benchmark", "benchmark-secret"
_KEY = bytes(range(32))
_ROOT = Path(__file__).parents[1]
_PROGRAMS = _ROOT / ".tools" / "bin"


@dataclass
class Peer:
    """A server that is running. ``durable`` says how it treats what it acknowledges."""

    name: str
    durable: str
    endpoint: str
    running: Running
    """What is measured: its memory, its processor time."""
    beside: list[Running] = field(default_factory=list)
    bucket_rule: Mapping[str, object] | None = None
    """How its buckets encrypt, where that is a setting of theirs, not of the server."""
    authority: Path | None = None
    """Whom a client has to trust, over TLS."""

    def encrypt(self, bucket: str) -> None:
        """Let a bucket encrypt what does not say how, by the rule, if there is one."""
        if self.bucket_rule is None:
            return
        client: Any = Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            verify=str(self.authority) if self.authority else None,
        )
        configuration = {"Rules": [self.bucket_rule]}
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)

    def pause(self) -> None:
        """Stop all that belongs to it."""
        for running in (self.running, *self.beside):
            running.pause()

    def resume(self) -> None:
        """Let all that belongs to it go on."""
        for running in (self.running, *self.beside):
            running.resume()

    def stop(self) -> None:
        """End all that belongs to it."""
        for running in (self.running, *self.beside):
            running.stop()


Start = Callable[[Path], Peer]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(home: Path, **settings: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), **settings}


def _rule(algorithm: str) -> dict[str, object]:
    """A bucket's default encryption."""
    return {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}


def _certificate(home: Path, tls: bool) -> tuple[str, Path | None, list[str]]:
    """The scheme of a server's URL; with TLS, whom to trust, and the flags by which it finds its certificate."""
    if not tls:
        return "http", None, []
    return "https", certificate.make(home / "certs"), ["--certs-dir", str(home / "certs")]


def strongroom(name: str, *flags: str, encrypt: bool = True, tls: bool = False) -> Start:
    """Strongroom's server on a directory."""

    def start(home: Path) -> Peer:
        endpoint = f"127.0.0.1:{free_port()}"
        scheme, authority, certs = _certificate(home, tls)
        settings = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
        settings |= {"MINIO_SSE_MASTER_KEY": f"bench:{_KEY.hex()}", "STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
        settings["MINIO_SSE_AUTO_ENCRYPTION"] = "on" if encrypt else "off"
        given = ["--address", endpoint, *certs, *flags, str(home / "data")]
        command = [sys.executable, "-m", "strongroom", "server", *given]
        running = Running(command, _environment(home, **settings), home / "log")
        running.wait_for(f"{scheme}://{endpoint}/minio/health/ready", authority)
        return Peer(name, "synced: index and blobs", f"{scheme}://{endpoint}", running, authority=authority)

    return start


def strongroom_with_openbao(name: str, bucket_keys: bool = False) -> Start:
    """Strongroom's server with its master key in OpenBao; ``bucket_keys``: with SSE-KMS, and bucket keys."""

    def start(home: Path) -> Peer:
        kms, vault = openbao.start(home / "openbao", f"127.0.0.1:{free_port()}")
        endpoint = f"127.0.0.1:{free_port()}"
        settings = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, **vault}
        settings["MINIO_SSE_AUTO_ENCRYPTION"] = "on"
        settings["STRONGROOM_BUCKET_KEY_SECONDS"] = "300" if bucket_keys else "0"
        command = [sys.executable, "-m", "strongroom", "server", "--address", endpoint, str(home / "data")]
        running = Running(command, _environment(home, **settings), home / "log")
        running.wait_for(f"http://{endpoint}/minio/health/ready")
        rule = {**_rule("aws:kms"), "BucketKeyEnabled": True} if bucket_keys else None
        return Peer(name, "synced: index and blobs", f"http://{endpoint}", running, [kms], rule)

    return start


def minio(name: str, encrypt: bool = True, kms: bool = False, tls: bool = False) -> Start:
    """MinIO on one directory, with SSE-S3 for every upload; SSE-KMS if ``kms``.

    The latter is what its auto-encryption means by now: its ETags are random, so it hashes nothing with MD5.
    """

    def start(home: Path) -> Peer:
        endpoint = f"127.0.0.1:{free_port()}"
        scheme, authority, certs = _certificate(home, tls)
        settings = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"}
        if encrypt:
            settings["MINIO_KMS_SECRET_KEY"] = f"bench:{base64.b64encode(_KEY).decode()}"
            settings["MINIO_KMS_AUTO_ENCRYPTION"] = "on" if kms else "off"
        command = [str(_PROGRAMS / "minio"), "server", "--quiet", "--address", endpoint, *certs, str(home / "data")]
        running = Running(command, _environment(home, **settings), home / "log")
        running.wait_for(f"{scheme}://{endpoint}/minio/health/cluster", authority, well=True)  # "ready" is too early
        durable = "synced: data (fdatasync) and xl.meta (O_DSYNC), not the directory"
        rule = _rule("AES256") if encrypt and not kms else None
        return Peer(name, durable, f"{scheme}://{endpoint}", running, bucket_rule=rule, authority=authority)

    return start


def versitygw(name: str, synced: bool = False) -> Start:
    """versitygw on one directory. It does not encrypt, and syncs nothing. ``synced``: the file system does, with each
    change to a file or a directory: it is told to by attributes, which all below the directory inherits.
    """

    def start(home: Path) -> Peer:
        endpoint = f"127.0.0.1:{free_port()}"
        data = home / "data"
        data.mkdir(exist_ok=True)
        if synced:
            subprocess.run(["chattr", "+SD", str(data)], check=True)
        settings = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        command = [str(_PROGRAMS / "versitygw"), "--port", endpoint, "--quiet", "--keep-alive", "posix", str(data)]
        running = Running(command, _environment(home, **settings), home / "log")
        running.wait_for(f"http://{endpoint}/")
        durable = "synced by the file system (`chattr +SD`)" if synced else "not synced"
        return Peer(name, durable, f"http://{endpoint}", running)

    return start


def gateway(home: Path, backend: str, *flags: str, encrypt: bool = True) -> tuple[str, Running]:
    """Strongroom's gateway before an S3, encrypting or passing through: its endpoint, and the process."""
    endpoint = f"127.0.0.1:{free_port()}"
    settings = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "AWS_EC2_METADATA_DISABLED": "true"}
    if encrypt:
        settings |= {"MINIO_SSE_MASTER_KEY": f"bench:{_KEY.hex()}", "MINIO_SSE_AUTO_ENCRYPTION": "on"}
    command = [sys.executable, "-m", "strongroom", "gateway", "s3", "--address", endpoint, *flags, backend]
    running = Running(command, _environment(home, **settings), home / "log")
    running.wait_for(f"http://{endpoint}/minio/health/ready")
    return f"http://{endpoint}", running


def gateway_s3(name: str, *flags: str, encrypt: bool = True) -> Start:
    """Strongroom's gateway before a MinIO, which encrypts nothing itself."""

    def start(home: Path) -> Peer:
        (home / "backend").mkdir()
        backend = minio("backend", encrypt=False)(home / "backend")
        endpoint, running = gateway(home, backend.endpoint, *flags, encrypt=encrypt)
        return Peer(name, "as its backend, MinIO", endpoint, running, [backend.running])

    return start


PEERS: dict[str, Start] = {
    "strongroom": strongroom("strongroom"),
    "strongroom --no-compat": strongroom("strongroom --no-compat", "--no-compat"),
    "strongroom, plain": strongroom("strongroom, plain", encrypt=False),
    "strongroom, TLS": strongroom("strongroom, TLS", tls=True),
    "strongroom, 1 worker": strongroom("strongroom, 1 worker", "--workers", "1"),
    "strongroom, OpenBao": strongroom_with_openbao("strongroom, OpenBao"),
    "strongroom, OpenBao, bucket keys": strongroom_with_openbao("strongroom, OpenBao, bucket keys", bucket_keys=True),
    "strongroom gateway s3": gateway_s3("strongroom gateway s3"),
    "strongroom gateway s3, 1 worker": gateway_s3("strongroom gateway s3, 1 worker", "--workers", "1"),
    "strongroom gateway s3, plain": gateway_s3("strongroom gateway s3, plain", encrypt=False),
    "minio": minio("minio"),
    "minio, SSE-KMS": minio("minio, SSE-KMS", kms=True),
    "minio, TLS": minio("minio, TLS", tls=True),
    "minio, plain": minio("minio, plain", encrypt=False),
    "versitygw": versitygw("versitygw"),
    "versitygw, synced": versitygw("versitygw, synced", synced=True),
}


def start(name: str, below: Path) -> Peer:
    """Start a peer in a directory of its own below another; what lies there from an earlier run is still there."""
    home = below / name.replace(" ", "").replace(",", "-")
    home.mkdir(parents=True, exist_ok=True)
    return PEERS[name](home)
