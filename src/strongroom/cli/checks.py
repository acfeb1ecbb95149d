"""Checks of the settings that lead to a Vault or a backend: are the URL and the certificate files usable?

Done before anything is started, so that a mistake stops the command with one line. No connection is made.
"""

from __future__ import annotations

import logging

from strongroom.config import Backend, RemoteS3, SettingError, VaultPlace
from strongroom.config.table import VAULT_CAPATH, VAULT_CLIENT_CERT
from strongroom.kms.vault_tls import BadTLSFile, trusting
from strongroom.trust import in_the_clear, trusted

_log = logging.getLogger("strongroom.kms")


def check_vault(place: VaultPlace) -> None:
    """Check that the certificate and key files for a Vault can be loaded; warn if it is reached over plain HTTP. Raises
    SettingError.
    """
    if in_the_clear(place.endpoint):
        _log.warning("the KMS is asked over plain HTTP: whoever listens on the way sees tokens, secret ids, data keys")
    if not place.endpoint.startswith("https:"):
        return
    for path, certificate, key, setting in (
        (place.ca_path, None, None, VAULT_CAPATH),
        (None, place.client_cert, place.client_key, VAULT_CLIENT_CERT),
    ):
        try:
            trusting(path, certificate, key)
        except BadTLSFile as error:
            raise SettingError(setting.variables[0], str(error)) from None


def check_backend(target: RemoteS3, backend: Backend) -> None:
    """Check that the backend's URL is valid and its file of certificates can be loaded. Raises SettingError."""
    from strongroom.store.s3.endpoint import parse_endpoint  # not for servers that have no backend

    try:
        parse_endpoint(target.url)
    except ValueError as error:
        raise SettingError("URL", str(error), "https://s3.example.com:9000") from None
    try:
        trusted(backend.ca)
    except OSError as error:
        name = "STRONGROOM_BACKEND_CA (--backend-ca)"
        raise SettingError(name, f"{str(backend.ca)!r} holds no certificates: {error.strerror}") from None
