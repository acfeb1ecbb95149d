"""The administration of a Vault that does what a real one does seldom, or should not; and what policies grant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from strongroom.kms.base import KMSDenied, KMSUnavailable
from strongroom.kms.vault_admin import AdminRefused, KeyState, Plan, Unread, VaultAdmin
from strongroom.kms.vault_client import Answer
from strongroom.secret import Secret
from tests.kms.imagined import Vault, refused
from tests.kms.test_faults import OK, Node

PLAN = Plan("key", "role")
DONE = Answer(204, {})


def data(**given: Any) -> Answer:
    return Answer(200, {"data": given})


def state(**changed: Any) -> Answer:
    """What a Vault says of a transit key."""
    return data(**{"type": "aes256-gcm96", "latest_version": 1, "min_decryption_version": 1, **changed})


def of_path(**answers: Answer) -> Callable[[str, Mapping[str, Any], str], Answer]:
    """Answers to paths that end in a name (with _ for -), and the state of a key to all others."""

    def answer(path: str, body: Mapping[str, Any], token: str) -> Answer:
        return answers.get(path.rpartition("/")[2].replace("-", "_"), state())

    return answer


def administer(vault: Vault, work: Callable[[VaultAdmin], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work(VaultAdmin(vault, Secret("root")))

    return asyncio.run(main())


# -- keys ----------------------------------------------------------------------------------------------------------


def test_a_key_that_is_only_said_to_be_disabled_is_not_taken_for_disabled() -> None:
    """Somebody may be relying on it: a key is disabled when it was stolen."""
    for says in (DONE, refused(404, "unsupported path")):
        vault = Vault()
        vault.odd = of_path(soft_delete=says)
        with pytest.raises(AdminRefused, match="is not disabled, whatever the KMS has answered"):
            administer(vault, lambda admin: admin.disable("key"))


@pytest.mark.parametrize("status", [404, 405])
def test_a_vault_says_in_one_of_two_ways_that_it_has_no_soft_deletion(status: int) -> None:
    vault, key = Vault(), {"latest_version": 3, "min_decryption_version": 1, "min_encryption_version": 0}

    def answer(path: str, body: Mapping[str, Any], token: str) -> Answer:
        if "/soft-delete" in path:
            return refused(status, "unsupported operation")
        key["latest_version"] += path.endswith("/rotate")
        key.update(body)
        return state(**key)

    vault.odd = answer
    assert administer(vault, lambda admin: admin.disable("key")) == KeyState("key", 4, 4, False, "aes256-gcm96")
    assert key["min_encryption_version"] == 0, "it goes on to wrap with the latest, whichever that is"
    assert administer(vault, lambda admin: admin.enable("key")) == KeyState("key", 4, 1, False, "aes256-gcm96")


def test_who_may_not_disable_a_key_is_told_so_and_it_gets_no_new_version() -> None:
    vault = Vault()
    vault.odd = of_path(soft_delete=refused(403, "permission denied"))
    with pytest.raises(KMSDenied, match="refuses to disable the key 'key': permission denied"):
        administer(vault, lambda admin: admin.disable("key"))
    assert not vault.paths(containing="rotate")


def test_a_key_that_is_disabled_already_stays_so_whatever_is_said_of_disabling_it_again() -> None:
    vault = Vault()
    vault.odd = of_path(key=state(soft_deleted=True), soft_delete=refused(400, "it is deleted already"))
    assert administer(vault, lambda admin: admin.disable("key")).disabled
    vault.odd = of_path(key=state(), soft_delete=refused(400, "not now"))
    with pytest.raises(AdminRefused, match="refuses to disable the key 'key': not now"):
        administer(vault, lambda admin: admin.disable("key"))


@pytest.mark.parametrize(
    "odd", [{"type": None}, {"latest_version": "1"}, {"min_decryption_version": None}, {"type": 7}]
)
def test_of_a_key_whose_state_makes_no_sense_nothing_is_guessed(odd: dict[str, Any]) -> None:
    vault = Vault()
    vault.odd = lambda path, body, token: state(**odd)
    for work in (lambda admin: admin.key("key"), lambda admin: admin.enable("key"), lambda admin: admin.rotate("key")):
        with pytest.raises(KMSUnavailable, match="its answer makes no sense"):
            administer(vault, work)
    assert set(vault.paths()) == {"transit/keys/key"}, "it was looked at, and that is all"


@pytest.mark.parametrize(
    ("kind", "wraps"),
    [
        ("aes128-gcm96", True), ("aes256-gcm96", True), ("chacha20-poly1305", True), ("xchacha20-poly1305", True),
        ("managed_key", True), ("ed25519", False), ("ecdsa-p256", False), ("rsa-4096", False), ("hmac", False),
    ],
)  # fmt: skip
def test_only_keys_of_types_that_wrap_under_a_name_are_for_data_keys(kind: str, wraps: bool) -> None:
    vault = set_up(GRANTED, key=state(type=kind))
    for work in (
        lambda admin: admin.create("key"),
        lambda admin: admin.grant("key", "role"),
        lambda admin: admin.steps(PLAN),
    ):
        if wraps:
            administer(vault, work)
        else:
            with pytest.raises(AdminRefused, match=f"is of the type {kind}, which wraps no data keys"):
                administer(vault, work)


def test_keys_that_cannot_be_read_hide_no_other_whatever_the_reason() -> None:
    vault = Vault()
    vault.odd = of_path(
        keys=data(keys=["gone", "broken", "key"]), gone=refused(404, ""), broken=refused(500, "storage")
    )
    gone, broken, key = administer(vault, lambda admin: admin.keys())
    assert isinstance(gone, Unread) and "there is no transit key 'gone'" in gone.error
    assert isinstance(broken, Unread) and "refuses to read transit/keys/broken: storage" in broken.error
    assert key == KeyState("key", 1, 1, False, "aes256-gcm96")


@pytest.mark.parametrize("answer", [refused(404, ""), data(), data(keys=None)])
def test_where_there_are_no_keys_none_are_listed(answer: Answer) -> None:
    vault = Vault()
    vault.odd = lambda path, body, token: answer
    assert administer(vault, lambda admin: admin.keys()) == []


@pytest.mark.parametrize("name", ["../../sys/seal", "a/b", "a?b", "ä", ""])
def test_no_name_of_a_key_or_a_role_leads_astray(name: str) -> None:
    vault = Vault()
    vault.odd = of_path()
    for work in (
        lambda admin: admin.key(name),
        lambda admin: admin.create(name),
        lambda admin: admin.rotate(name),
        lambda admin: admin.disable(name),
        lambda admin: admin.enable(name),
        lambda admin: admin.grant(name, "role"),
        lambda admin: admin.steps(Plan("key", name)),
        lambda admin: admin.carry_out(Plan("key", name)),
    ):
        with pytest.raises(AdminRefused, match=r"letters, digits, and within it \. _ -"):
            administer(vault, work)
    assert not vault.asked
    with pytest.raises(AdminRefused, match="cannot be the name of a role"):
        administer(vault, lambda admin: admin.grant("key", name))
    assert vault.paths() == ["transit/keys/key"]


def test_a_change_whose_answer_is_lost_is_not_made_again() -> None:
    """A second version of a key, or a secret id that nobody knows, would be left."""

    async def main() -> None:
        async with Node(OK) as node:
            node.lost = 1
            with pytest.raises(KMSUnavailable, match="it closed the connection"):
                await VaultAdmin(node.client, Secret("root")).create("key")
            assert len(node.asked) == 1

    asyncio.run(main())


# -- setting up ----------------------------------------------------------------------------------------------------


def set_up(policy: str = "", **changed: Answer) -> Vault:
    """A Vault in which everything is set up, with this policy of the role."""
    vault = Vault()
    there = {
        "mounts": data(**{"transit/": {"type": "transit"}}),
        "auth": data(**{"approle/": {"type": "approle"}}),
        "role_id": data(role_id="the-role"),
        "secret_id": data(secret_id="the-secret"),
        **changed,
    }
    of_other = of_path(**there)

    def answer(path: str, body: Mapping[str, Any], token: str) -> Answer:
        if path.startswith("auth/approle/role/") and path.endswith("/role"):
            return changed.get("role") or data(token_policies=["role"])
        return data(policy=policy) if path.startswith("sys/policies") else of_other(path, body, token)

    vault.odd = answer
    return vault


GRANTED = "".join(f'path "transit/{path}/key" {{ capabilities = ["update"] }}\n' for path in ("decrypt", "encrypt"))


@pytest.mark.parametrize("odd", [{}, {"role_id": ""}, {"role_id": 7}, {"role_id": "r\nMINIO_ROOT_PASSWORD=x"}])
def test_credentials_that_make_no_sense_are_not_printed_among_the_settings(odd: dict[str, Any]) -> None:
    _, credentials = administer(set_up(GRANTED), lambda admin: admin.carry_out(PLAN))
    assert (credentials.role_id.reveal(), credentials.secret_id.reveal()) == (b"the-role", b"the-secret")
    vault = set_up(GRANTED, role_id=data(**odd))
    with pytest.raises(KMSUnavailable, match="its answer makes no sense"):
        administer(vault, lambda admin: admin.carry_out(PLAN))


def test_what_is_there_is_left_as_it_is() -> None:
    vault = set_up(GRANTED)
    steps, _ = administer(vault, lambda admin: admin.carry_out(PLAN))
    assert [step.needed for step in steps] == [False] * 5 + [True]
    assert [path for path, body in vault.asked if body] == []


def test_a_role_whose_policies_are_none_is_not_ours() -> None:
    given: tuple[object, ...] = (None, "role", [])
    for policies in given:
        with pytest.raises(AdminRefused, match="without the policy 'role'"):
            administer(set_up(GRANTED, role=data(token_policies=policies)), lambda admin: admin.steps(PLAN))


DECRYPT, ENCRYPT, DATAKEY = (
    f'path "transit/{path}/a.key" {{ capabilities = ["update"] }}'
    for path in ("decrypt", "encrypt", "datakey/plaintext")
)
DENIED = DECRYPT.replace("update", "deny")


@pytest.mark.parametrize(
    "policy",
    [
        f"{DECRYPT}\n{ENCRYPT}",
        f"{DECRYPT} {DATAKEY}",
        DECRYPT.replace('["', '[ "read", "').replace("{", ":{") + ENCRYPT,
        f'path "a//b#c/*d" {{ capabilities = ["deny"] }} {DECRYPT} path "e*/f" {{}} {ENCRYPT}',
        f"{DECRYPT} # {DENIED}\n{ENCRYPT} // {DENIED}\n/* {DENIED}\n{DENIED} */",
        f'path "a\\"#" {{}} {DECRYPT} {ENCRYPT}',
    ],
)
def test_a_policy_that_lets_a_key_be_used_is_enough_however_it_is_written(policy: str) -> None:
    steps = administer(set_up(policy), lambda admin: admin.steps(Plan("a.key", "role")))
    assert [step.needed for step in steps if "policy 'role'" in step.what] == [False, False]


@pytest.mark.parametrize(
    "policy",
    [
        DECRYPT,
        f"{ENCRYPT}\n{DATAKEY}",
        f"{DECRYPT}\n# {ENCRYPT}",
        f"{DECRYPT}\n// {ENCRYPT}\n/* {DATAKEY} */",
        f"{DECRYPT}\n{ENCRYPT}\n".replace("a.key", "a-key"),
        f"{DECRYPT}\n{ENCRYPT}\n".replace("a.key", "a.keys"),
        f"{DECRYPT}\n{ENCRYPT}\n{DENIED}",
        f"{DENIED}\n{DECRYPT}\n{ENCRYPT}",
    ],
)
def test_a_policy_that_does_not_let_a_key_be_used_is_not_enough(policy: str) -> None:
    with pytest.raises(AdminRefused, match=r"does not grant the key 'a\.key'"):
        administer(set_up(policy), lambda admin: admin.steps(Plan("a.key", "role")))
