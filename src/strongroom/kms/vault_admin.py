"""What an administrator does to a Vault for Strongroom: set it up; make, rotate, disable and enable keys.

Needs a token that may do this. Knows nothing of settings, nor of how results are shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.kms.base import KMSDenied, KMSError, NoSuchKey
from strongroom.kms.transit_wire import is_key_name, nonsense
from strongroom.secret import Secret

if TYPE_CHECKING:  # importing it loads aiohttp, for which a server without a Vault need not wait
    from strongroom.kms.vault_client import Answer, VaultClient

_POLICY = """\
# What Strongroom needs for the key {key}, and no more.
path "transit/datakey/plaintext/{key}" {{ capabilities = ["read", "update"] }}
path "transit/encrypt/{key}"           {{ capabilities = ["read", "update"] }}
path "transit/decrypt/{key}"           {{ capabilities = ["read", "update"] }}
"""
_PATHS = ("decrypt", "encrypt", "datakey/plaintext")
# Comments in a policy; and strings, within which nothing is a comment.
_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|#[^\n]*|//[^\n]*|/\*.*?\*/', re.DOTALL)
_RULE = r'"transit/{path}/{key}"\s*[:=]?\s*\{{([^{{}}]*)'
_NOT_THERE = (404, 405)
# Prefixes of the key types that can authenticate a name along with what they wrap.
_WRAPS = ("aes128-gcm", "aes256-gcm", "chacha20", "xchacha20", "managed_key")


class AdminRefused(KMSError):
    """The Vault refuses, or the change would do harm; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to set up: the transit key, and an AppRole whose tokens live for ``period`` and can be renewed."""

    key: str
    role: str
    period: str = "5m"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the set-up; ``needed`` is False if it had been done before."""

    what: str
    needed: bool


@dataclass(frozen=True, slots=True)
class RoleCredentials:
    """What a server logs in with."""

    role_id: Secret
    secret_id: Secret


@dataclass(frozen=True, slots=True)
class KeyState:
    """A transit key: its latest version, the oldest that may unwrap, whether it is disabled as a whole, its type."""

    name: str
    latest: int
    least: int
    disabled: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A transit key that is listed but cannot be read, for example because the token may not; ``error`` says why."""

    name: str
    error: str


class VaultAdmin:
    """Changes one Vault, with a token. Methods raise AdminRefused, KMSDenied, NoSuchKey and KMSUnavailable."""

    def __init__(self, client: VaultClient, token: Secret) -> None:
        self._client = client
        self._token = token

    # -- setting up ----------------------------------------------------------------------------------------------------

    async def steps(self, plan: Plan) -> list[Step]:
        """The steps of :meth:`carry_out`. What exists already is left as it is."""
        _checked_role(plan.role)
        mounts = (await self._do("GET", "sys/mounts", "list the secrets engines")).data
        methods = (await self._do("GET", "sys/auth", "list the auth methods")).data
        engine, method = _mounted(mounts, "transit"), _mounted(methods, "approle")
        key = await self._get(f"transit/keys/{plan.key}") if engine else None
        if key is not None:
            _check_type(plan.key, str(key.data.get("type")))
        role = await self._get(f"auth/approle/role/{plan.role}") if method else None
        if role is not None and not _names(role.data.get("token_policies"), plan.role):
            # Either it is somebody else's, or its access was withdrawn: in both cases it is not ours to change.
            raise AdminRefused(
                f"there is a role {plan.role!r} without the policy {plan.role!r}: give it that policy (in"
                f" auth/approle/role/{plan.role}/policies), or choose another name with --role"
            )
        policy = await self._get(f"sys/policies/acl/{plan.role}")
        if policy is not None and not _grants(str(policy.data.get("policy")), plan.key):
            # Overwriting it would take from others what it grants them.
            raise AdminRefused(
                f"there is a policy {plan.role!r} that does not grant the key {plan.key!r}: add to it (strongroom kms"
                f" key grant {plan.key}), or choose another name with --role"
            )
        return [
            Step("enable the transit engine at transit/", not engine),
            Step(f"make the transit key {plan.key!r} (aes256-gcm96)", key is None),
            Step("enable AppRole at approle/", not method),
            Step(f"write the policy {plan.role!r}", policy is None),
            Step(f"make the role {plan.role!r} (policy {plan.role!r}, period {plan.period})", role is None),
            Step(f"make a secret id for the role {plan.role!r}", True),
        ]

    async def carry_out(self, plan: Plan) -> tuple[list[Step], RoleCredentials]:
        """Set up what is not there yet. Returns the steps, and the role's id with a new secret id."""
        steps = await self.steps(plan)
        engine, key, method, policy, role, _ = (step.needed for step in steps)
        if engine:
            await self._do("POST", "sys/mounts/transit", "enable the transit engine", {"type": "transit"})
            # Otherwise, encrypting with a key that does not exist makes it, for example after a typing error in its
            # name. An engine that others have set up keeps its configuration.
            await self._do("POST", "transit/config/keys", "configure the transit engine", {"disable_upsert": True})
        if key:
            await self._do("POST", f"transit/keys/{plan.key}", "make the key", {"type": "aes256-gcm96"})
        if method:
            await self._do("POST", "sys/auth/approle", "enable AppRole", {"type": "approle"})
            # A secret id cannot be guessed; locking the role out after a few failures would only let strangers do so.
            unlocked = {"user_lockout_config": {"lockout_disable": True}}
            await self._do("POST", "sys/auth/approle/tune", "configure AppRole", unlocked)
        if policy:
            text = {"policy": _POLICY.format(key=plan.key)}
            await self._do("POST", f"sys/policies/acl/{plan.role}", "write the policy", text)
        if role:
            settings = {"token_policies": plan.role, "token_period": plan.period, "secret_id_num_uses": 0}
            await self._do("POST", f"auth/approle/role/{plan.role}", "make the role", settings)
        found = await self._do("GET", f"auth/approle/role/{plan.role}/role-id", "read the role's id")
        made = await self._do("POST", f"auth/approle/role/{plan.role}/secret-id", "make a secret id", {})
        return steps, RoleCredentials(self._secret(found, "role_id"), self._secret(made, "secret_id"))

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def keys(self) -> list[KeyState | Unread]:
        """All transit keys, including those that cannot be read."""
        listed = await self._client.call("LIST", "transit/keys", None, self._token)
        if listed.status == 404:
            return []
        names = self._checked(listed, "list the keys").data.get("keys")
        return [await self._listed(str(name)) for name in names] if isinstance(names, list) else []

    async def _listed(self, name: str) -> KeyState | Unread:
        try:
            return await self.key(name)
        except (KMSDenied, AdminRefused, NoSuchKey) as error:
            return Unread(name, str(error))

    async def key(self, name: str) -> KeyState:
        """One transit key. Raises NoSuchKey."""
        return self._state(name, await self._read(name))

    async def _read(self, name: str) -> Answer:
        _check_name(name)
        found = await self._get(f"transit/keys/{name}")
        if found is None:
            raise NoSuchKey(f"there is no transit key {name!r} at {self._client.address.url}")
        return found

    def _state(self, name: str, found: Answer) -> KeyState:
        kind, latest, least = map(found.data.get, ("type", "latest_version", "min_decryption_version"))
        if not isinstance(kind, str) or not isinstance(latest, int) or not isinstance(least, int):
            raise nonsense(self._client.address.url)  # whether a key is enabled or disabled must not be guessed
        return KeyState(name, latest, least, found.data.get("soft_deleted") is True, kind)

    async def create(self, name: str) -> KeyState:
        """Make a key; one that exists stays as it is."""
        _check_name(name)
        await self._do("POST", f"transit/keys/{name}", f"make the key {name!r}", {"type": "aes256-gcm96"})
        state = await self.key(name)
        _check_type(name, state.kind)
        return state

    async def grant(self, name: str, role: str) -> KeyState:
        """Let a role that :meth:`carry_out` made use another key: add it to its policy. Raises NoSuchKey."""
        state = await self.key(name)
        _check_type(name, state.kind)
        policy = await self._get(f"sys/policies/acl/{_checked_role(role)}")
        if policy is None:
            raise AdminRefused(f"there is no policy {role!r}: strongroom kms setup makes it")
        text = str(policy.data.get("policy"))
        if not _grants(text, name):
            if text.lstrip().startswith("{"):  # Vault would accept what is appended, and ignore it
                raise AdminRefused(f"the policy {role!r} is JSON: add the paths of the key {name!r} to it by hand")
            if any(_deny(_rules(text, path, name)) for path in _PATHS):
                raise AdminRefused(f"the policy {role!r} denies the key {name!r}, whatever is added: edit it by hand")
            body = {"policy": f"{text.rstrip()}\n\n{_POLICY.format(key=name)}"}
            await self._do("POST", f"sys/policies/acl/{role}", f"write the policy {role!r}", body)
        return state

    async def rotate(self, name: str) -> KeyState:
        """Give a key a new version, which wraps new data keys. Raises NoSuchKey."""
        if (await self.key(name)).disabled:
            raise AdminRefused(f"the key {name!r} is disabled: strongroom kms key enable {name} comes first")
        await self._do("POST", f"transit/keys/{name}/rotate", f"rotate the key {name!r}", {})
        return await self.key(name)

    async def disable(self, name: str) -> KeyState:
        """Disable a key until it is enabled again. Raises NoSuchKey.

        OpenBao soft-deletes it, so that every use is denied. Vault has no such feature: there the key gets a new
        version, and all former versions are denied; what is wrapped from then on is under the new one.
        """
        state = await self.key(name)
        deleted = await self._client.call("DELETE", f"transit/keys/{name}/soft-delete", None, self._token)
        if deleted.status in _NOT_THERE:
            latest = (await self.rotate(name)).latest
            await self._least(name, latest, await self._read(name))
        elif not state.disabled:
            self._checked(deleted, f"disable the key {name!r}")
        now = await self.key(name)
        if not now.disabled and now.least <= state.latest:
            raise AdminRefused(f"the key {name!r} is not disabled, whatever the KMS has answered: look at it there")
        return now

    async def enable(self, name: str) -> KeyState:
        """Enable a key again, in all versions that it has. Raises NoSuchKey."""
        found = await self._read(name)
        state, first = self._state(name, found), _first_version(found)
        if state.disabled:
            await self._do("POST", f"transit/keys/{name}/soft-delete-restore", f"enable the key {name!r}", {})
        if state.least > first:
            await self._least(name, first, found)
        return await self.key(name)

    async def _least(self, name: str, version: int, found: Answer) -> None:
        """Make ``version`` the oldest that may unwrap, of a key whose state is ``found``. Versions that may not unwrap
        may not wrap either.
        """
        body = {"min_decryption_version": version}
        wraps = found.data.get("min_encryption_version")
        if isinstance(wraps, int) and 0 < wraps < version:  # 0: always the latest
            body["min_encryption_version"] = version
        await self._do("POST", f"transit/keys/{name}/config", f"configure the key {name!r}", body)

    # -- calls ---------------------------------------------------------------------------------------------------------

    async def _get(self, path: str) -> Answer | None:
        answer = await self._client.call("GET", path, None, self._token)
        return None if answer.status == 404 else self._checked(answer, f"read {path}")

    async def _do(self, method: str, path: str, what: str, body: Mapping[str, object] | None = None) -> Answer:
        return self._checked(await self._client.call(method, path, body, self._token, repeatable=method == "GET"), what)

    def _checked(self, answer: Answer, what: str) -> Answer:
        if answer.ok:
            return answer
        kind = KMSDenied if answer.status == 403 else AdminRefused
        raise kind(f"the KMS at {self._client.address.url} refuses to {what}: {answer.reason}")

    def _secret(self, answer: Answer, name: str) -> Secret:
        value = answer.data.get(name)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise nonsense(self._client.address.url)
        return Secret(value)


def _first_version(found: Answer) -> int:
    """The oldest version that a key still has: older ones may have been removed (``trim``)."""
    first = found.data.get("min_available_version")
    return max(first, 1) if isinstance(first, int) else 1


def _check_name(name: str) -> None:
    if not is_key_name(name):
        raise AdminRefused(f"{name[:60]!r} is not the name of a transit key (letters, digits, and within it . _ -)")


def _check_type(name: str, kind: str) -> None:
    if not kind.startswith(_WRAPS):
        raise AdminRefused(f"the transit key {name!r} is of the type {kind}, which wraps no data keys: choose another")


def _mounted(mounts: Mapping[str, object], kind: str) -> bool:
    """Whether an engine or auth method is mounted where the server expects it: at the name of its kind."""
    found = mounts.get(f"{kind}/")
    if isinstance(found, dict) and found.get("type") != kind:
        raise AdminRefused(f"what is mounted at {kind}/ is of the type {found.get('type')}: that place is needed")
    return found is not None


def _names(policies: object, policy: str) -> bool:
    """Whether a list of policies names this one; upper and lower case are the same in their names."""
    return isinstance(policies, list) and policy.lower() in (str(name).lower() for name in policies)


def _checked_role(name: str) -> str:
    if not is_key_name(name):
        raise AdminRefused(f"{name[:60]!r} cannot be the name of a role: letters, digits, and within it . _ -")
    return name


def _grants(policy: str, key: str) -> bool:
    """Whether a policy lets a server unwrap with a key, and wrap in one of the two ways."""
    unwraps, *wraps = (_permit(_rules(policy, path, key)) for path in _PATHS)
    return unwraps and any(wraps)


def _rules(policy: str, path: str, key: str) -> list[str]:
    """All rules of a policy for this path of a key, except those that are commented out."""
    text = _COMMENT.sub(lambda found: found[1] or " ", policy)
    return re.findall(_RULE.format(path=path, key=re.escape(key)), text)


def _permit(rules: list[str]) -> bool:
    """Whether rules for the same path permit its use: a denial outweighs all others."""
    return any('"update"' in rule for rule in rules) and not _deny(rules)


def _deny(rules: list[str]) -> bool:
    return any('"deny"' in rule for rule in rules)
