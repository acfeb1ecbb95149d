"""A Vault in memory, for what a real one does not do when a test wants it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any

from strongroom.kms.transit import TransitKMS
from strongroom.kms.vault_client import Answer, VaultAddress, VaultClient
from strongroom.kms.vault_token import AppRole, VaultSession
from strongroom.secret import Secret

URL = "http://vault.test"


class Vault(VaultClient):
    """Answers as Vault does, unless ``odd`` answers or raises first; ``asked`` keeps the paths and the bodies.

    It authenticates what it is given as associated data, and wraps by writing it all down.
    """

    def __init__(self, timeout: float = 60) -> None:
        super().__init__(VaultAddress(URL, timeout=timeout))
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.held = asyncio.Event()
        """Set while calls are answered; a test clears it to hold them."""
        self.held.set()
        self.odd: Callable[[str, Mapping[str, Any], str], Answer | None] = lambda path, body, token: None
        self.under_way = self.most_under_way = 0
        self.tokens = 0
        self.life, self.renewed_life = 3600, 3600
        self.renewable = True
        self.stopped = False

    def session(self, secret_id: Callable[[], Secret] = lambda: Secret("secret")) -> VaultSession:
        return VaultSession(self, AppRole(Secret("role"), secret_id))

    def kms(self, version: int = 0) -> TransitKMS:
        return TransitKMS(self.session(), "key", version)

    def paths(self, *, containing: str = "") -> list[str]:
        return [path for path, _ in self.asked if containing in path]

    async def stop(self) -> None:
        """Close all connections."""
        self.stopped = True
        await super().stop()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        token: Secret | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """An answer, once it is not held."""
        self.asked.append((path, body or {}))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            await self.held.wait()
            shown = token.reveal().decode() if token else ""
            return self.odd(path, body or {}, shown) or self._answer_to(path, body or {})
        finally:
            self.under_way -= 1

    def _answer_to(self, path: str, body: Mapping[str, Any]) -> Answer:
        if path in ("auth/approle/login", "auth/token/renew-self"):
            login = path == "auth/approle/login"
            self.tokens += login
            life = self.life if login else self.renewed_life
            auth = {"client_token": f"token-{self.tokens}", "lease_duration": life, "renewable": self.renewable}
            return Answer(200, {"auth": auth})
        _, operation, *_, key = path.split("/")
        if operation == "encrypt":
            return _rows([{"ciphertext": _wrapped(key, row["plaintext"], row)} for row in body["batch_input"]])
        if operation == "decrypt":
            return _rows([_unwrapped(key, row) for row in body["batch_input"]])
        if operation == "datakey":
            plaintext = base64.b64encode(bytes(32)).decode()
            return Answer(200, {"data": {"plaintext": plaintext, "ciphertext": _wrapped(key, plaintext, body)}})
        return Answer(200, {"data": {}})


def denies(*parts: str) -> Callable[[str, Mapping[str, Any], str], Answer | None]:
    """Denies the use of all paths with one of these in them."""
    return lambda path, body, token: refused(403, "permission denied") if any(part in path for part in parts) else None


def refused(status: int, reason: str) -> Answer:
    return Answer(status, {"errors": [reason]})


def _rows(rows: list[dict[str, str]]) -> Answer:
    return Answer(200, {"data": {"batch_results": rows}})


def _wrapped(key: str, plaintext: str, row: Mapping[str, str]) -> str:
    said = f"{key}|{plaintext}|{row.get('associated_data', '')}"
    return f"vault:v{row.get('key_version', 1)}:" + base64.b64encode(said.encode()).decode()


def _unwrapped(key: str, row: Mapping[str, str]) -> dict[str, str]:
    wrapped_by, plaintext, bound = base64.b64decode(row["ciphertext"].split(":")[2]).decode().split("|")
    if (wrapped_by, bound) != (key, row.get("associated_data", "")):
        return {"error": "cipher: message authentication failed"}
    return {"plaintext": plaintext}
