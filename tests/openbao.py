"""A real OpenBao for the tests: persistent storage (raft), three unseal keys, TLS where certificates are given."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.server import free_port

_TOOL = Path(__file__).parents[1] / ".tools" / "venv" / "bin" / "bao"

POLICY = """
path "transit/datakey/plaintext/{key}" {{ capabilities = ["read", "update"] }}
path "transit/decrypt/{key}" {{ capabilities = ["read", "update"] }}
path "transit/encrypt/{key}" {{ capabilities = ["read", "update"] }}
"""
"""What a Vault's policy grants in MinIO's guide of 2019."""


def bao_program() -> str:
    """The ``bao`` program; skips the test where there is none, except in CI."""
    found = str(_TOOL) if _TOOL.exists() else shutil.which("bao")
    if found is None:
        assert not os.environ.get("CI"), "bao is missing; make tools installs it"
        pytest.skip("bao is missing; make tools installs it")
    return found


class Refused(Exception):
    """An error of OpenBao's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass
class OpenBao:
    """A running, unsealed OpenBao; a context manager that ends it.

    ``certs`` is a directory with ``public.crt``, ``private.key`` and ``ca.crt`` (TLS then). ``client_ca`` makes it ask
    clients for a certificate. ``root`` is its root token once it runs.
    """

    home: Path
    certs: Path | None = None
    client_ca: Path | None = None
    port: int = 0
    root: str = ""
    unseal_keys: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = bao_program()
        self.port = self.port or free_port()
        (self.home / "raft").mkdir(parents=True, exist_ok=True)
        (self.home / "bao.json").write_text(json.dumps(self._config()))
        self._command = [program, "server", f"-config={self.home / 'bao.json'}"]
        self.start()
        made = self.api("PUT", "sys/init", {"secret_shares": 5, "secret_threshold": 3})
        self.root, self.unseal_keys = made["root_token"], made["keys_base64"][:3]
        self.unseal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _config(self) -> Mapping[str, object]:
        tcp: dict[str, object] = {"address": f"127.0.0.1:{self.port}", "cluster_address": f"127.0.0.1:{free_port()}"}
        if self.certs is None:
            tcp["tls_disable"] = True
        else:
            tcp |= {"tls_cert_file": str(self.certs / "public.crt"), "tls_key_file": str(self.certs / "private.key")}
        if self.client_ca is not None:
            tcp |= {"tls_require_and_verify_client_cert": True, "tls_client_ca_file": str(self.client_ca)}
        return {
            "storage": {"raft": {"path": str(self.home / "raft"), "node_id": "one", "performance_multiplier": 1}},
            "listener": {"tcp": tcp},
            "api_addr": self.endpoint,
            "cluster_addr": f"https://127.0.0.1:{free_port()}",
            "log_level": "warn",
        }

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certs else 'http'}://127.0.0.1:{self.port}"

    # -- its life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, sealed."""
        with (self.home / "bao.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "HOME": str(self.home)}
            )
        self._wait(lambda health: True)

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)

    def unseal(self) -> None:
        """Unseal it with three keys; it is active then."""
        for key in self.unseal_keys:
            self.api("PUT", "sys/unseal", {"key": key})
        self._wait(lambda health: not health["sealed"] and not health["standby"])

    def seal(self) -> None:
        """Seal it."""
        self.api("PUT", "sys/seal", {})

    def _wait(self, ready: Any) -> None:
        assert self.process is not None
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, Refused):
                health = self.api("GET", "sys/health?sealedcode=200&standbyok=true&uninitcode=200")
                if ready(health):
                    return
            log = (self.home / "bao.log").read_text()
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)

    # -- its API -------------------------------------------------------------------------------------------------------

    def api(
        self, method: str, path: str, body: Mapping[str, object] | None = None, token: str = "", namespace: str = ""
    ) -> Any:
        """Call it, with the root token unless another is given; the JSON it answers. Raises Refused."""
        headers = {"X-Vault-Token": token or self.root, **({"X-Vault-Namespace": namespace} if namespace else {})}
        request = urllib.request.Request(
            f"{self.endpoint}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=20, context=self._tls()) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode(errors="replace")) from None
        return json.loads(content) if content else {}

    def _tls(self) -> ssl.SSLContext | None:
        if self.certs is None:
            return None
        context = ssl.create_default_context(cafile=str(self.certs / "ca.crt"))
        if self.client_ca is not None:
            context.load_cert_chain(self.certs / "client.crt", self.certs / "client.key")
        return context

    def prepare(self, namespace: str = "") -> None:
        """Enable transit and AppRole."""
        if namespace:
            self.api("POST", f"sys/namespaces/{namespace}", {})
        self.api("POST", "sys/mounts/transit", {"type": "transit"}, namespace=namespace)
        self.api("POST", "sys/auth/approle", {"type": "approle"}, namespace=namespace)

    def role(
        self,
        name: str,
        key: str,
        *,
        policy: str = POLICY,
        period: str = "5m",
        namespace: str = "",
        **settings: object,
    ) -> Role:
        """A transit key (unless it is there), a policy for it, and an AppRole that has the policy."""
        self.api("POST", f"transit/keys/{key}", {}, namespace=namespace)
        self.write_policy(name, key, policy, namespace)
        body = {"token_policies": name, "token_period": period, **settings}
        self.api("POST", f"auth/approle/role/{name}", body, namespace=namespace)
        role_id = self.api("GET", f"auth/approle/role/{name}/role-id", namespace=namespace)["data"]["role_id"]
        return Role(self, name, key, role_id, self.secret_id(name, namespace), namespace)

    def secret_id(self, role: str, namespace: str = "") -> str:
        """A new secret id."""
        made = self.api("POST", f"auth/approle/role/{role}/secret-id", {}, namespace=namespace)
        return str(made["data"]["secret_id"])

    def write_policy(self, name: str, key: str, policy: str = POLICY, namespace: str = "") -> None:
        """Write a policy for a key."""
        self.api("POST", f"sys/policies/acl/{name}", {"policy": policy.format(key=key)}, namespace=namespace)

    def revoke_tokens(self) -> int:
        """Revoke every token that an AppRole got; how many they were."""
        accessors = self.api("LIST", "auth/token/accessors")["data"]["keys"]
        revoked = 0
        for accessor in accessors:
            with contextlib.suppress(Refused):
                found = self.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
                if found["path"] == "auth/approle/login":
                    self.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
                    revoked += 1
        return revoked

    def restore(self, key: str, backup: str) -> None:
        """Restore a transit key from a backup."""
        self.api("POST", f"transit/restore/{key}", {"backup": backup})

    def wrap(self, key: str, plaintext: bytes, associated_data: bytes | None = None) -> str:
        """What ``transit/encrypt`` gives."""
        body = {"plaintext": base64.b64encode(plaintext).decode()}
        if associated_data is not None:
            body["associated_data"] = base64.b64encode(associated_data).decode()
        return str(self.api("POST", f"transit/encrypt/{key}", body)["data"]["ciphertext"])


@dataclass(frozen=True)
class Role:
    """An AppRole for one transit key."""

    bao: OpenBao
    name: str
    key: str
    role_id: str
    secret_id: str
    namespace: str = ""

    def settings(self, endpoint: str = "", **more: str | None) -> dict[str, str | None]:
        """The environment of a server that uses it as its KMS; ``endpoint`` where a proxy is in between."""
        settings: dict[str, str | None] = {
            "MINIO_SSE_MASTER_KEY": None,
            "MINIO_SSE_VAULT_ENDPOINT": endpoint or self.bao.endpoint,
            "MINIO_SSE_VAULT_AUTH_TYPE": "approle",
            "MINIO_SSE_VAULT_APPROLE_ID": self.role_id,
            "MINIO_SSE_VAULT_APPROLE_SECRET": self.secret_id,
            "MINIO_SSE_VAULT_KEY_NAME": self.key,
        }
        if self.bao.certs is not None:
            settings["MINIO_SSE_VAULT_CAPATH"] = str(self.bao.certs / "ca.crt")
        if self.namespace:
            settings["MINIO_SSE_VAULT_NAMESPACE"] = self.namespace
        return settings | more
