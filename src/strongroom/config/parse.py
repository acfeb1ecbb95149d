"""From the text of a setting to its value. Each function raises ValueError, which says what is wrong with the text.

Messages never repeat secrets: about a key, they say at most how many characters it has.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from strongroom.config.values import Address, BackendStyle, GatewaySSE, LogFormat, StaticKey
from strongroom.secret import Secret

_ON = frozenset({"on", "true", "1", "t", "enabled"})
_OFF = frozenset({"off", "false", "0", "f", "disabled"})
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-f:.]*:[0-9a-f:.]*")  # a name or an IPv4 address, or an IPv6 address
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.*_-]+(?::[0-9*]{1,5})?|[a-z][a-z0-9+.-]*://\[[0-9a-f:]+\](?::[0-9]{1,5})?"
)
_TRANSIT_KEY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_KEY_LENGTH = 32
_MAX_NAME = 255  # bytes, for which the envelope has room
_MAX_CREDENTIAL = 1024


def switch(text: str) -> bool:
    """``on`` or ``off``, or another spelling that MinIO accepted."""
    word = text.strip().lower()
    if word not in _ON | _OFF:
        raise ValueError(f"{_shown(text)} is neither on nor off")
    return word in _ON


def access_key(text: str) -> str:
    """An access key: of MinIO's minimum length, with characters that can stand in an Authorization header."""
    if len(text) < 3:
        raise ValueError("it must have at least 3 characters")
    _check_credential(text)
    if set(text) & set(" ,=/"):
        raise ValueError('spaces, ",", "=" and "/" cannot stand in an access key')
    return text


def secret_key(text: str) -> Secret:
    """A secret key of MinIO's minimum length."""
    if len(text) < 8:
        raise ValueError("it must have at least 8 characters")
    _check_credential(text)
    return Secret(text)


def _check_credential(text: str) -> None:
    if len(text) > _MAX_CREDENTIAL:
        raise ValueError(f"it is longer than {_MAX_CREDENTIAL} characters")
    if not text.isascii() or not text.isprintable():
        raise ValueError("only printable ASCII characters can stand in it")


def hex_master_key(text: str) -> StaticKey:
    """``name:64 hex digits``, the form of ``MINIO_SSE_MASTER_KEY``."""
    name, digits = _named(text)
    if len(digits) != 2 * _KEY_LENGTH:
        raise ValueError(f"the key has {len(digits)} characters, not {2 * _KEY_LENGTH} hex digits")
    try:
        return StaticKey(name, Secret(binascii.unhexlify(digits)))
    except ValueError:
        raise ValueError("the key has characters that are not hex digits") from None


def base64_master_key(text: str) -> StaticKey:
    """``name:base64 of 32 bytes``, the form of ``MINIO_KMS_SECRET_KEY``."""
    name, encoded = _named(text)
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ValueError("the key is not base64") from None
    if len(key) != _KEY_LENGTH:
        raise ValueError(f"the key has {len(key)} bytes, not {_KEY_LENGTH}")
    return StaticKey(name, Secret(key))


def read_keys(text: str) -> tuple[StaticKey, ...]:
    """Master keys, each ``name:64 hex digits`` or ``name:base64``, separated by commas or line breaks.

    So names cannot contain commas here. Lines that begin with ``#`` are comments.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    words = [word.strip() for line in lines for word in line.split(",") if word.strip()]
    keys: dict[str, StaticKey] = {}
    for number, word in enumerate(words, 1):
        try:
            # 32 bytes are 44 characters in base64, and 64 in hex.
            key = base64_master_key(word) if len(word.rpartition(":")[2]) == 44 else hex_master_key(word)
        except ValueError as error:
            raise ValueError(f"key {number}: {error}") from None
        if keys.setdefault(key.name, key) != key:
            raise ValueError(f"key {number}: there is another key with this name")
    if not keys:
        raise ValueError("there is no key in it")
    return tuple(keys.values())


def url(text: str) -> str:
    """An ``http`` or ``https`` URL of a Vault, without credentials, query and fragment, its scheme in lower case."""
    if set(text) & set("@?#"):
        raise ValueError("credentials, a query or a fragment cannot stand in the URL")  # not shown: may hold secrets
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ValueError(f"{_shown(text)} is not a URL") from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or "") or port == 0:
        raise ValueError(f"{_shown(text)} is not a URL that begins with https:// or http://, and names one host")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"the /v1 at the end of {_shown(text)} is added by itself; leave it away")
    if not text.isascii() or not text.strip().isprintable() or " " in text.strip():
        raise ValueError("only printable ASCII characters can stand in it")
    # The scheme in lower case, in which it is compared to tell whether there is TLS.
    return parts.scheme + text.strip()[len(parts.scheme) :].rstrip("/")


def auth_type(text: str) -> str:
    """``approle``."""
    if text.strip().lower() != "approle":
        raise ValueError(f"{_shown(text)} is not approle, the only way to log in that is served")
    return "approle"


def approle_id(text: str) -> Secret:
    """The role id or the secret id of an AppRole."""
    word = text.strip()
    if not word or len(word) > _MAX_CREDENTIAL or not word.isprintable():
        raise ValueError("it is empty, too long, or has characters that cannot be printed")
    return Secret(word)


def transit_key(text: str) -> str:
    """The name of a transit key."""
    if len(text) > _MAX_NAME or not _TRANSIT_KEY.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not the name of a transit key (letters, digits, and within it . _ -)")
    return text


def key_version(text: str) -> int:
    """The version of a transit key, 0 for the latest."""
    return _whole(text, 0, 999_999_999)


def namespace(text: str) -> str:
    """A namespace's path, without slashes at its ends."""
    path = text.strip().strip("/")
    if not path or len(path) > 1024 or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{_shown(text)} is not a namespace")
    return path


def _named(text: str) -> tuple[str, str]:
    name, colon, key = text.strip().partition(":")
    if not colon:
        raise ValueError('there is no ":" between a name and a key')
    if not name:
        raise ValueError('there is no name before the ":"')
    if len(name.encode()) > _MAX_NAME:
        raise ValueError(f"the name is longer than {_MAX_NAME} bytes")
    if not name.isprintable():
        raise ValueError("the name has characters that cannot be printed")
    return name, key


def region(text: str) -> str:
    """The name of a region."""
    if not _REGION.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a region's name (letters, digits, hyphens)")
    return text


def domains(text: str) -> tuple[str, ...]:
    """Domains, separated by commas, in lower case."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names:
        if len(name) > 253 or not _DOMAIN.fullmatch(name):
            raise ValueError(f"{_shown(name)} is not a domain")
    return names


def address(text: str) -> Address:
    """``HOST:PORT``, ``:PORT`` for all interfaces, ``[IPv6]:PORT``."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise ValueError(f"{_shown(text)} is not HOST:PORT")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{_shown(port)} is not a port (0 to 65535)")
    host = host[1:-1] if bracketed else host
    if not host.isascii() or not host.isprintable() or set(host) & set(" /@[]"):
        raise ValueError(f"{_shown(host)} is not a host")
    return Address(host, int(port))


def workers(text: str) -> int:
    """A number of worker processes."""
    return _whole(text, 1, 1024)


def seconds(text: str) -> int:
    """A whole number of seconds, up to a day."""
    return _whole(text, 1, 86_400)


def lifetime(text: str) -> int:
    """A whole number of seconds, up to a day; 0 for none."""
    return _whole(text, 0, 86_400)


def hours(text: str) -> int:
    """A whole number of hours, up to a year; returned in seconds."""
    return 3600 * _whole(text, 1, 8_784)


def _whole(text: str, least: int, most: int) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9 and least <= int(digits) <= most):
        raise ValueError(f"{_shown(text)} is not a whole number from {least} to {most:,}")
    return int(digits)


def path(text: str) -> Path:
    """A path."""
    if "\0" in text:
        raise ValueError("a path has no NUL characters")
    return Path(text)


def origins(text: str) -> tuple[str, ...]:
    """Origins of web pages, separated by commas, each with one ``*`` at most; ``off`` for none."""
    if text.strip().lower() in _OFF:
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name != "*" and (name.count("*") > 1 or not _ORIGIN.fullmatch(name)):
            raise ValueError(f"{_shown(name)} is not an origin (SCHEME://HOST, with a port and one * if need be)")
    return names


def public_metrics(text: str) -> bool:
    """``public`` or ``jwt``: whether metrics are public."""
    word = text.strip().lower()
    if word not in ("public", "jwt"):
        raise ValueError(f"{_shown(text)} is neither jwt nor public")
    return word == "public"


def log_format(text: str) -> LogFormat:
    """``text`` or ``json``."""
    word = text.strip().lower()
    if word == "text":
        return "text"
    if word == "json":
        return "json"
    raise ValueError(f"{_shown(text)} is neither text nor json")


def backend_style(text: str) -> BackendStyle:
    """``auto``, ``path`` or ``virtual``."""
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if word == "path":
        return "path"
    if word == "virtual":
        return "virtual"
    raise ValueError(f"{_shown(text)} is neither auto nor path nor virtual")


def gateway_sse(text: str) -> GatewaySSE:
    """``s3``, ``c`` or ``s3;c``, the form of MinIO."""
    words = [word.strip().lower() for word in text.split(";")]
    if not words or len(set(words)) != len(words) or not set(words) <= {"s3", "c"}:
        raise ValueError(f"{_shown(text)} is none of s3, c and s3;c")
    found: set[Literal["s3", "c"]] = set()
    if "s3" in words:
        found.add("s3")
    if "c" in words:
        found.add("c")
    return frozenset(found)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
