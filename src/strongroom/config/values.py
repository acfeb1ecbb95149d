"""The values of settings: validated, frozen, ready to be sent to a worker process.

Knows nothing of environment variables, flags or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from strongroom.secret import Secret

LogFormat = Literal["text", "json"]

BackendStyle = Literal["auto", "path", "virtual"]

GatewaySSE = frozenset[Literal["s3", "c"]]
"""The kinds of encryption that the S3 gateway asks its backend for, in addition to its own."""


@dataclass(frozen=True, slots=True)
class StaticKey:
    """A static master key: its name, which is stored with every object, and its 32 bytes."""

    name: str
    key: Secret


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Where a Vault or OpenBao is, how to trust it, and which client certificate to present to it.

    ``ca_path`` is a PEM file, or a directory of them; None for the system's authorities. ``timeout`` is in seconds.
    """

    endpoint: str
    namespace: str = ""
    ca_path: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    timeout: int = 10


@dataclass(frozen=True, slots=True)
class Vault:
    """A KMS: a Vault or OpenBao, the AppRole to log in with, and the transit key that wraps new data keys.

    ``secret_id_file`` is the file with the secret id, which is read again at each login; None if there is no file.
    ``key_version`` is 0 for the latest.
    """

    place: VaultPlace
    role_id: Secret
    secret_id: Secret
    secret_id_file: Path | None
    key_name: str
    key_version: int = 0


@dataclass(frozen=True, slots=True)
class Administration:
    """What a command that changes a Vault needs: where it is, a token that may change it, and the transit key that the
    settings name, if any.
    """

    place: VaultPlace
    token: Secret
    key_name: str | None


@dataclass(frozen=True, slots=True)
class Keys:
    """The master keys in the settings: ``master_key`` or ``vault`` wraps (at most one is set); ``read_keys`` unwrap."""

    master_key: StaticKey | None = None
    vault: Vault | None = None
    read_keys: tuple[StaticKey, ...] = ()

    @property
    def wrap(self) -> bool:
        """Whether there is a master key that wraps. Without one, only clients' keys (SSE-C) can encrypt."""
        return self.master_key is not None or self.vault is not None


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. ``host`` is "" for all interfaces, ``port`` 0 for any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """``strongroom server``: objects are kept in a directory that only the server uses."""

    path: Path


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """``strongroom gateway nas``: objects are files in a folder that others use too. ``mask`` is the umask for them."""

    path: Path
    mask: int = 0o022


@dataclass(frozen=True, slots=True)
class RemoteS3:
    """``strongroom gateway s3``: objects are kept on another S3. ``url`` is None for AWS."""

    url: str | None


@dataclass(frozen=True, slots=True)
class Backend:
    """How to connect to a backend, another S3. ``ca`` is a file of certificates, ``timeout`` is in seconds."""

    region: str = "us-east-1"
    style: BackendStyle = "auto"
    ca: Path | None = None
    timeout: int = 60
    sse: GatewaySSE = frozenset()


Target = LocalDirectory | SharedFolder | RemoteS3
"""What is served; each command that serves has its own type of target."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a server. Secrets among them cannot be printed by accident; see :mod:`strongroom.secret`.

    ``region`` is "" if none was set: then requests may be signed for any. ``idle_timeout``, ``stop_timeout`` (0: none)
    and ``sweep_age`` are in seconds. ``certs_named``: ``certs_dir`` was given, so TLS is meant to be on. ``home`` is
    the directory for what belongs to the user and not to the data (certificates, the key of ``--dev``).
    ``bucket_key_seconds``: for how long bucket keys are kept, 0 for not at all. ``public_metrics``: everybody may read
    the metrics. ``cors_origins``: the origins of web pages that may use buckets without CORS rules of their own.
    ``notify_socket``: where the service manager hears what the server does, "" if nowhere.
    """

    target: Target
    access_key: str
    secret_key: Secret
    region: str
    domains: tuple[str, ...]
    master_key: StaticKey | None
    auto_encryption: bool
    allow_insecure_sse_c: bool
    compat: bool
    address: Address
    workers: int
    certs_dir: Path
    log_format: LogFormat
    idle_timeout: int
    stop_timeout: int
    sweep_age: int
    bucket_key_seconds: int
    access_log: Path | None
    public_metrics: bool
    cors_origins: tuple[str, ...]
    home: Path
    dev: bool
    vault: Vault | None = None
    read_keys: tuple[StaticKey, ...] = ()
    backend: Backend = Backend()
    certs_named: bool = False
    notify_socket: str = ""

    @property
    def keys(self) -> Keys:
        """The master keys among these settings."""
        return Keys(self.master_key, self.vault, self.read_keys)

    @property
    def backend_name(self) -> str:
        """What people are told of the S3 that a gateway stands before; "" for a directory."""
        target = self.target
        return (target.url or f"AWS, {self.backend.region}") if isinstance(target, RemoteS3) else ""
