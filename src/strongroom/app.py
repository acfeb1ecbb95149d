"""Settings → KMS → store → sealed store → S3 application: the one place where they are wired together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from strongroom import __version__
from strongroom.config import Keys, LocalDirectory, RemoteS3, Settings, SharedFolder, Target, Vault, VaultPlace
from strongroom.config.parse import approle_id
from strongroom.config.table import ACCESS_LOG, SSE_MASTER_KEY, VAULT_KEY_NAME
from strongroom.kms.base import KMS, KMSError
from strongroom.kms.keyring import Keyring
from strongroom.kms.metered import MeteredKMS
from strongroom.kms.static import StaticKMS
from strongroom.kms.transit import TransitKMS
from strongroom.kms.vault_token import AppRole, VaultSession
from strongroom.observe.access import AccessLog
from strongroom.observe.metrics import Metrics
from strongroom.sealed.check import CheckDamaged, ForeignKMS
from strongroom.sealed.checked import CheckedKMS
from strongroom.sealed.guard import WriteGuard
from strongroom.sealed.keys import Kind
from strongroom.sealed.outer import Outer
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.serving.application import CannotBegin
from strongroom.sigv4 import SigningCredential
from strongroom.store.base import Store
from strongroom.store.errors import StoreError

# Loaded when it is needed, since loading takes most of a start: a place needs one kind of store, jobs on objects do
# without the S3 protocol, and only who has a Vault needs aiohttp.
if TYPE_CHECKING:
    from strongroom.kms.vault_client import VaultAddress
    from strongroom.relay import BackendRelay
    from strongroom.s3.app import S3App
    from strongroom.store.s3 import S3Store

_log = logging.getLogger("strongroom")

_OTHER_KEY = "give the master key of this place (or read with it: STRONGROOM_READ_KEYS), or serve another place"


class Application:
    """The S3 application with the store, the KMS and the access log, which are opened and closed with the server.

    ``backend``: the S3 that a gateway stands before, for the log; "" if the store is a directory.
    """

    def __init__(
        self,
        objects: SealedStore,
        s3: S3App,
        key_setting: str,
        metrics: Metrics,
        access_log: AccessLog | None,
        backend: str,
    ) -> None:
        self._objects = objects
        self._key_setting = key_setting  # the variable that names the master key, for messages
        self._access_log = access_log
        self._backend = backend
        self.answer = s3
        self.metrics = metrics

    async def start(self) -> None:
        """Open the store, the KMS and the access log. Raises CannotBegin."""
        try:
            if self._access_log is not None:
                self._access_log.open()
        except OSError as error:
            raise CannotBegin(f"{ACCESS_LOG.variables[0]}: {error}") from error
        try:
            await self._objects.start()
        except (StoreError, KMSError, OSError) as error:
            raise CannotBegin(f"the store cannot be opened: {error}") from error
        except ForeignKMS as error:
            raise CannotBegin(f"{self._key_setting}: {error}; {_OTHER_KEY}") from error
        except CheckDamaged as error:
            raise CannotBegin(str(error)) from error

    async def look(self) -> None:
        """Warn if the backend cannot be used. It may be away for a moment only, so the gateway starts all the same."""
        if self._backend:
            try:
                await self.answer.ready()
            except (StoreError, OSError) as error:
                about = {"backend": self._backend, "reason": str(error)}
                _log.warning("the backend cannot be used; requests fail until it can", extra=about)

    async def stop(self) -> None:
        """Finish what was acknowledged; close the store, the KMS and the access log."""
        try:
            await self._objects.stop()
        except Exception:
            _log.exception("the store could not be closed in order")
        if self._access_log is not None:
            self._access_log.close()


_DEFAULTS_SECONDS = 5.0
"""How long gateways cache the default encryption and the CORS rules of a bucket, which others may change."""

_PATIENCE_OF_JOBS = 120.0
"""How many seconds a job goes on asking a Vault that limits the rate of calls: no client is waiting for its answer."""

_ATTEMPTS_OF_JOBS = 8
"""How often a job sends a request to a backend that is away for a moment: with the pauses, for some 13 seconds."""

_DOUBLE = {"s3": (Kind.SSE_S3, Kind.SSE_KMS), "c": (Kind.SSE_C,)}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where objects are kept, and what else that place needs.

    ``kms`` is the KMS, with the check that goes with this kind of place. ``outer`` has the backend encrypt objects once
    more. ``guard`` refuses writes to buckets that belong to another KMS. ``relay`` forwards requests if the gateway has
    no KMS. ``defaults_seconds``: how long the settings of a bucket are cached; 0 if reading them is cheap.
    """

    store: Store
    kms: KMS | None
    outer: Outer | None = None
    guard: WriteGuard | None = None
    relay: BackendRelay | None = None
    defaults_seconds: float = 0.0


def _place(settings: Settings, kms: KMS | None, *, read_only: bool = False, metrics: Metrics | None = None) -> _Place:
    target = settings.target
    if isinstance(target, LocalDirectory):
        from strongroom.store.local import LocalStore

        return _Place(LocalStore(target.path), kms)
    if isinstance(target, SharedFolder):
        return _shared_place(settings, target, kms, read_only)
    return _remote_place(settings, target, kms, metrics)


def _shared_place(settings: Settings, target: SharedFolder, kms: KMS | None, read_only: bool) -> _Place:
    from strongroom.store.nas import NasStore

    store = NasStore(target.path, mask=target.mask, sweep_age=settings.sweep_age, sweeps=not read_only)
    checked = CheckedKMS(kms, store, leave=not read_only) if kms is not None else None
    return _Place(store, checked, defaults_seconds=_DEFAULTS_SECONDS)


def _remote_place(settings: Settings, target: RemoteS3, kms: KMS | None, metrics: Metrics | None) -> _Place:
    from strongroom.store.left import LeftStore

    remote = remote_store(settings, target, metrics)
    store = LeftStore(remote)
    kinds = frozenset(kind for name in settings.backend.sse for kind in _DOUBLE[name])
    # Objects that were encrypted twice stay readable whatever is set now; but their keys do not go over plain HTTP.
    outer = Outer(store, store, kinds, gives_keys=remote.client.endpoint.secure)
    if kms is None:
        from strongroom.relay import BackendRelay

        relay = BackendRelay(remote.client, allow_insecure_sse_c=settings.allow_insecure_sse_c)
        return _Place(store, None, outer, relay=relay)
    return _Place(store, kms, outer, WriteGuard(kms, remote), defaults_seconds=_DEFAULTS_SECONDS)


def remote_store(settings: Settings, target: RemoteS3, metrics: Metrics | None = None) -> S3Store:
    """The store on a backend, reached as these settings say; nothing is opened yet. ``metrics`` count its requests;
    without them it is for a job, which waits longer for a backend that is away.
    """
    from strongroom.store.s3 import Client, S3Store, parse_endpoint

    backend = settings.backend
    own = SigningCredential(settings.access_key, settings.secret_key)
    endpoint = parse_endpoint(target.url, backend.style)
    client = partial(Client, endpoint, backend.region, own, ca=backend.ca, timeout=backend.timeout)
    return S3Store(client(tell=metrics.backend_request) if metrics else client(attempts=_ATTEMPTS_OF_JOBS))


def build_objects(settings: Settings, *, read_only: bool) -> SealedStore:
    """The sealed store that these settings ask for; nothing is opened yet.

    ``read_only`` is for jobs that change nothing: a shared folder is not swept, and no check value is left there.
    """
    kms = build_kms(settings.keys, patience=_PATIENCE_OF_JOBS)
    return _objects(settings, _place(settings, kms, read_only=read_only))


def _objects(settings: Settings, place: _Place) -> SealedStore:
    return SealedStore(
        place.store,
        place.kms,
        auto_encrypt=settings.auto_encryption,
        compat=settings.compat,
        upload_secret=settings.secret_key,
        outer=place.outer,
        guard=place.guard,
        defaults_seconds=place.defaults_seconds,
        bucket_key_seconds=settings.bucket_key_seconds,
    )


def _numbers(metrics: Metrics) -> tuple[str, bytes]:
    """Content type and text of the page for Prometheus."""
    from strongroom.observe.exposition import CONTENT_TYPE, page  # a tenth of a start's time; only Prometheus needs it

    return CONTENT_TYPE, page(metrics, __version__)


def build(settings: Settings) -> Application:
    """The application that these settings ask for; nothing is opened before it is started."""
    from strongroom.observe.requests import RequestObserver
    from strongroom.s3.app import S3App
    from strongroom.s3.cors import CrossOrigin
    from strongroom.s3.numbers import PATHS, NumbersPage

    metrics = Metrics(_free_bytes(settings.target))
    access_log = AccessLog(settings.access_log) if settings.access_log is not None else None
    kms: KMS | None = build_kms(settings.keys)
    if kms is not None and settings.vault is not None:
        kms = MeteredKMS(kms, metrics.kms_call)
    place = _place(settings, kms, metrics=metrics)
    objects = _objects(settings, place)
    credentials = {settings.access_key: settings.secret_key}
    numbers = NumbersPage(lambda: _numbers(metrics), credentials, settings.public_metrics)
    s3 = S3App(
        objects,
        credentials,
        region=settings.region,
        # If no region was set, names of regions mean nothing, except where buckets are made at a backend.
        any_location=not settings.region and not isinstance(settings.target, RemoteS3),
        domains=settings.domains,
        allow_insecure_sse_c=settings.allow_insecure_sse_c,
        idle_timeout=settings.idle_timeout,
        relay=place.relay,
        cross_origin=CrossOrigin(objects, settings.cors_origins, place.relay is None, place.defaults_seconds),
        observer=RequestObserver(metrics, access_log),
        pages=dict.fromkeys(PATHS, numbers.answer),
    )
    key_setting = (VAULT_KEY_NAME if settings.vault else SSE_MASTER_KEY).variables[0]
    return Application(objects, s3, key_setting, metrics, access_log, settings.backend_name)


def _free_bytes(target: Target) -> Callable[[], int | None]:
    """A function that returns how many bytes are free where objects are stored; None if nobody knows (a backend)."""
    if isinstance(target, RemoteS3):
        return lambda: None
    path = target.path

    def look() -> int | None:
        try:
            found = os.statvfs(path)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    return look


def build_kms(keys: Keys, *, patience: float = 0.0) -> Keyring | None:
    """The KMS that these settings ask for, None if they name none; ``patience`` is that of VaultAddress.

    Raises BadTLSFile.
    """
    others = [StaticKMS(key.name, key.key) for key in keys.read_keys]
    if keys.vault is not None:
        return Keyring(_transit(keys.vault, patience), others)
    if keys.master_key is not None:
        return Keyring(StaticKMS(keys.master_key.name, keys.master_key.key), others)
    return None


def vault_address(place: VaultPlace, patience: float = 0.0) -> VaultAddress:
    """Where the Vault of these settings is, and how to trust it."""
    from strongroom.kms.vault_client import VaultAddress

    return VaultAddress(
        place.endpoint,
        place.namespace,
        place.ca_path,
        place.client_cert,
        place.client_key,
        float(place.timeout),
        patience,
    )


def _transit(vault: Vault, patience: float) -> KMS:
    from strongroom.kms.vault_client import VaultClient

    def secret_id() -> Secret:
        """Called at each login, so that whoever replaces a secret id does not have to restart the server."""
        if vault.secret_id_file is None:
            return vault.secret_id
        return approle_id(vault.secret_id_file.read_text())

    session = VaultSession(VaultClient(vault_address(vault.place, patience)), AppRole(vault.role_id, secret_id))
    return TransitKMS(session, vault.key_name, vault.key_version)
