"""A KMS that is away, hangs, lies or is not who it should be."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import re
import threading
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from strongroom.kms.base import KMSError, KMSUnavailable, WrappedKey
from strongroom.kms.transit import PROVIDER
from strongroom.kms.transit_wire import Item
from strongroom.kms.vault_admin import Plan, VaultAdmin
from strongroom.kms.vault_client import Answer, VaultAddress, VaultClient
from strongroom.kms.vault_tls import BadTLSFile
from strongroom.secret import Secret
from tests.certificates import make_certificates
from tests.cli.conftest import Command
from tests.kms.opened import CONTEXT, made, opened, unwrapped
from tests.openbao import OpenBao
from tests.proxy import Proxy
from tests.waiting import until

WRAPPED = WrappedKey(PROVIDER, "key", b"vault:v1:" + b"A" * 80)
SETTINGS: dict[str, str | None] = {
    "MINIO_SSE_VAULT_APPROLE_ID": "role",
    "MINIO_SSE_VAULT_APPROLE_SECRET": "secret",
    "MINIO_SSE_VAULT_KEY_NAME": "key",
}


class Liar:
    """Answers the login as Vault does (or with ``login``), and everything else with ``status`` and ``body``."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.headers: dict[str, str] = {}
        self.repeats = False
        """Whether a refusal repeats what was sent, in JSON that escapes what need not be."""
        self.refusals = 0
        """How many calls of those that come are told to come later, with the status ``later``."""
        self.later = 429
        self.login: tuple[int, object] = 200, {"client_token": "t", "lease_duration": 300, "renewable": True}
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, body = liar.status, liar.body
                if liar.repeats:
                    said = json.dumps({"errors": [sent.decode()]})
                    body = said.replace("/", "\\/").replace("+", "\\u002b").encode()
                if self.path == "/v1/auth/approle/login":
                    status, body = liar.login[0], json.dumps({"auth": liar.login[1]}).encode()
                elif liar.refusals:
                    liar.refusals -= 1
                    status, body = liar.later, b'{"errors": ["rate limit quota exceeded"]}'
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.send_header("location", "http://127.0.0.1:1/")
                for name, value in liar.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_DELETE = do_LIST = do_POST  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.settings = {**SETTINGS, "MINIO_SSE_VAULT_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}"}


@pytest.fixture
def liar() -> Iterator[Liar]:
    liar = Liar()
    thread = threading.Thread(target=liar.server.serve_forever, args=(0.05,))
    thread.start()
    yield liar
    liar.server.shutdown()
    thread.join()
    liar.server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>hello</html>"),
        (200, b"[]"),
        (200, b'{"data": 5}'),
        (200, b'{"data": {"batch_results": []}}'),
        (200, b'{"data": {"batch_results": [5]}}'),
        (200, b'{"data": {"batch_results": [{}]}}'),
        (200, b'{"data": {"batch_results": [{"plaintext": "AAAA", "ciphertext": "no"}]}}'),
        (200, b'{"data": {"batch_results": [{"plaintext": "!", "ciphertext": 5}]}}'),
        (200, b"[" * 100_000),
        (200, b'{"data": "' + b"x" * 5_000_000 + b'"}'),
        (400, b'{"errors": ["something new"]}'),
        (400, b'{"data": {"batch_results": [{"error": "something new"}]}}'),
        (400, b'{"data": {"batch_results": [{"error": ["something new"]}]}}'),
        (400, b'{"errors": [{"something": "new"}, 5]}'),
        (307, b""),
        (500, b'{"errors": ["internal error"]}'),
        (502, b"<html>bad gateway</html>"),
        (503, b'{"errors": ["Vault is sealed"]}'),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(liar: Liar, status: int, body: bytes) -> None:
    liar.status, liar.body = status, body

    async def main() -> None:
        async with opened(liar.settings) as kms:
            with pytest.raises(KMSUnavailable, match="http://127"):
                await unwrapped(kms, WRAPPED)
            with pytest.raises(KMSUnavailable, match="http://127"):
                await made(kms)

    asyncio.run(main())


@pytest.mark.parametrize(
    "login",
    [
        (412, None),  # a standby that does not have the secret id yet
        (200, None),
        (200, {"client_token": "t", "lease_duration": 10**400, "renewable": True}),
        (200, {"client_token": "t", "lease_duration": 1e400, "renewable": True}),
        (200, {"client_token": "t\n", "lease_duration": 300, "renewable": True}),
        (200, {"client_token": "€", "lease_duration": 300, "renewable": True}),
        (200, {"client_token": "t" * 100_000, "lease_duration": 300, "renewable": True}),
    ],
)
def test_a_login_that_gives_no_token_is_tried_again(liar: Liar, login: tuple[int, object]) -> None:
    key = {"plaintext": base64.b64encode(bytes(32)).decode()}
    liar.body = json.dumps({"data": {"batch_results": [key]}}).encode()

    async def main() -> None:
        right, liar.login = liar.login, login
        async with opened({**liar.settings, "STRONGROOM_VAULT_TIMEOUT": "4"}) as kms:
            with pytest.raises(KMSUnavailable, match="http://127"):
                await unwrapped(kms, WRAPPED)
            liar.login = right
            assert await unwrapped(kms, WRAPPED) == bytes(32)

    asyncio.run(main())


@pytest.mark.parametrize("status", [412, 429])
def test_a_kms_that_says_not_now_all_the_time_is_given_up(liar: Liar, status: int) -> None:
    liar.status, liar.body = status, b'{"errors": ["something is too much"]}'

    async def main() -> None:
        async with opened({**liar.settings, "STRONGROOM_VAULT_TIMEOUT": "1"}) as kms:
            with pytest.raises(KMSUnavailable, match="something is too much"):
                await unwrapped(kms, WRAPPED)

    asyncio.run(main())


@pytest.mark.parametrize("status", [412, 429])
@pytest.mark.parametrize("said", [None, "0", "1", "soon", "1 second"])
def test_a_call_that_comes_too_early_is_made_again(liar: Liar, status: int, said: str | None) -> None:
    key = {"plaintext": base64.b64encode(bytes(32)).decode()}
    liar.body = json.dumps({"data": {"batch_results": [key]}}).encode()
    liar.headers, liar.refusals, liar.later = {"retry-after": said} if said else {}, 2, status

    async def main() -> None:
        async with opened(liar.settings) as kms:
            assert await unwrapped(kms, WRAPPED) == bytes(32)

    asyncio.run(main())


def test_a_kms_that_is_to_be_left_alone_for_longer_than_a_call_may_take_is_left_alone(liar: Liar) -> None:
    liar.headers, liar.refusals = {"retry-after": "86400"}, 1000

    async def main() -> None:
        async with opened(liar.settings) as kms:
            for _ in range(10):
                with pytest.raises(KMSUnavailable, match=r"rate limit quota exceeded; it is asked again in \d"):
                    await unwrapped(kms, WRAPPED)

    asyncio.run(main())
    assert liar.refusals >= 998, "told once, and once more when the token is given back"


def test_a_job_waits_for_a_busy_kms_for_longer_than_one_call_may_take(liar: Liar) -> None:
    liar.body, liar.headers, liar.refusals = b"{}", {"retry-after": "3"}, 1

    async def main() -> None:
        address = VaultAddress(str(liar.settings["MINIO_SSE_VAULT_ENDPOINT"]), timeout=2, patience=60)
        assert address.longest == 60
        client = VaultClient(address)
        await client.start()
        assert (await client.call("GET", "x")).ok
        await client.stop()

    asyncio.run(main())


@pytest.mark.parametrize(("patience", "attempts"), [(0, 1), (60, 5)])
def test_a_job_waits_for_a_kms_that_is_away_for_a_moment_if_it_was_there_before(
    liar: Liar, patience: float, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    liar.body, liar.later = b"{}", 503

    async def main() -> None:
        client = VaultClient(VaultAddress(str(liar.settings["MINIO_SSE_VAULT_ENDPOINT"]), patience=patience))
        await client.start()
        liar.refusals = 1
        with pytest.raises(KMSUnavailable):
            await client.call("GET", "x")
        assert (await client.call("GET", "x")).ok
        liar.refusals = attempts - 1
        assert (await client.call("GET", "x")).ok
        liar.refusals = attempts
        with pytest.raises(KMSUnavailable):
            await client.call("GET", "x")
        assert not liar.refusals and pauses == [1, 2, 4, 8][: attempts - 1] * 2
        liar.refusals = 1
        with pytest.raises(KMSUnavailable):
            await client.call("POST", "x", repeatable=False)
        await client.stop()

    asyncio.run(main())


def test_a_refusal_without_a_document_is_one(liar: Liar) -> None:
    liar.status = 403

    async def main() -> None:
        client = VaultClient(VaultAddress(str(liar.settings["MINIO_SSE_VAULT_ENDPOINT"])))
        await client.start()
        answer = await client.call("GET", "x")
        assert (answer.status, answer.reason) == (403, "status 403")
        await client.stop()

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_refusal_that_repeats_what_was_sent_shows_no_secret(liar: Liar, status: int) -> None:
    """A proxy before the KMS may do that, and the log says why something was refused."""
    token, secret_id = "hvs.a-token-of-many-letters", "secret-id-of-many-lettérs"
    liar.login = 200, {"client_token": token, "lease_duration": 300, "renewable": True}
    settings = {**liar.settings, "MINIO_SSE_VAULT_APPROLE_SECRET": secret_id}
    liar.status = status
    liar.body = json.dumps({"errors": [f"X-Vault-Token: {token}", f"{secret_id} is bad"]}).encode()

    async def main() -> None:
        async with opened(settings) as kms:
            for _ in range(2):
                with pytest.raises(KMSError) as refused:
                    await unwrapped(kms, WRAPPED)
                assert "X-Vault-Token: [redacted]" in str(refused.value)
                assert token not in str(refused.value)
        client = VaultClient(VaultAddress(liar.settings["MINIO_SSE_VAULT_ENDPOINT"] or ""))
        await client.start()
        with contextlib.suppress(KMSError):
            sent = {"role_id": "role", "secret_id": secret_id}
            answer = await client.call("POST", "auth/approle/other", sent)
            assert answer.reason == f"X-Vault-Token: {token} [redacted] is bad"
        await client.stop()

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 403, 429, 503])
def test_a_refusal_that_repeats_what_was_sent_shows_no_data_key(liar: Liar, status: int) -> None:
    """When it is told to come later, the call is repeated, and its data keys are used."""
    liar.status, liar.repeats = status, True

    async def main() -> None:
        async with opened({**liar.settings, "STRONGROOM_VAULT_TIMEOUT": "1"}) as kms:
            with pytest.raises(KMSError) as refused:
                await made(kms)
            assert not re.search("[A-Za-z0-9+/]{43}=", str(refused.value))
            assert '"plaintext": "[redacted]"' in str(refused.value)

    asyncio.run(main())


def test_a_refusal_that_repeats_a_login_shows_no_secret_however_it_writes_it(liar: Liar) -> None:
    liar.login, liar.status, liar.repeats = (404, None), 400, True
    secret_id = "a/secret+id-of-many-letters"

    async def main() -> None:
        client = VaultClient(VaultAddress(liar.settings["MINIO_SSE_VAULT_ENDPOINT"] or ""))
        await client.start()
        answer = await client.call("POST", "auth/another/login", {"role_id": "role", "secret_id": secret_id})
        assert answer.reason == '{"role_id": "role", "secret_id": "[redacted]"}'
        await client.stop()

    asyncio.run(main())


def test_what_a_kms_says_is_one_line_that_is_not_long_and_shows_no_secret() -> None:
    said = Answer(400, {"errors": ["one\nlevel=INFO\ttwo", 5, "x" * 1000] + ["y"] * 1000, "data": "hunter2"})
    assert said.reason.startswith("one level=INFO two x") and len(said.reason) <= 300
    assert "hunter2" not in repr(said)
    assert "hunter3" not in repr(Item("key", b"context", True, secret=b"hunter3"))


def test_many_requests_pass_a_kms_that_admits_few_calls(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint, STRONGROOM_VAULT_TIMEOUT="60")) as kms:
                wrapped = await made(kms)
                path = f"transit/decrypt/{key}"
                bao.api("POST", f"sys/quotas/rate-limit/{key}", {"path": path, "rate": 4})
                proxy.requests.clear()
                opened_keys = await asyncio.gather(*(unwrapped(kms, wrapped.wrapped) for _ in range(500)))
                assert opened_keys == [wrapped.plaintext] * 500
                assert proxy.requests[path] <= 50, "most of them share few calls, and few are refused"

    asyncio.run(main())


STATE: dict[str, object] = {"type": "aes256-gcm96", "latest_version": 1, "min_decryption_version": 1}


async def refused(liar: Liar, act: Callable[[VaultAdmin], Awaitable[object]]) -> KMSError:
    """How a command of an administrator ends at this KMS."""
    client = VaultClient(VaultAddress(str(liar.settings["MINIO_SSE_VAULT_ENDPOINT"])))
    await client.start()
    try:
        with pytest.raises(KMSError) as caught:
            await act(VaultAdmin(client, Secret("token")))
    finally:
        await client.stop()
    return caught.value


@pytest.mark.parametrize("data", [{}, {**STATE, "type": None}, {**STATE, "latest_version": "1"}])
def test_an_administrator_is_told_no_state_of_a_key_that_the_kms_did_not_tell(
    liar: Liar, data: dict[str, object]
) -> None:
    liar.body = json.dumps({"data": data}).encode()
    for act in (lambda admin: admin.key("key"), lambda admin: admin.disable("key")):
        assert "makes no sense" in str(asyncio.run(refused(liar, act)))


def test_a_key_that_is_not_disabled_is_not_said_to_be(liar: Liar) -> None:
    liar.body = json.dumps({"data": STATE}).encode()
    assert "is not disabled" in str(asyncio.run(refused(liar, lambda admin: admin.disable("key"))))


@pytest.mark.parametrize("secret_id", [None, "", "a\nMINIO_ROOT_USER=a"])
def test_credentials_that_the_kms_did_not_give_are_no_settings(liar: Liar, secret_id: object) -> None:
    there = {"transit/": {"type": "transit"}, "approle/": {"type": "approle"}, "token_policies": ["role"], **STATE}
    rules = [f'path "transit/{path}/key" {{ capabilities = ["update"] }}' for path in ("decrypt", "encrypt")]
    given = {"policy": "\n".join(rules), "role_id": "role", "secret_id": secret_id}
    liar.body = json.dumps({"data": {**there, **given}}).encode()
    assert "makes no sense" in str(asyncio.run(refused(liar, lambda admin: admin.carry_out(Plan("key", "role")))))


def test_what_a_kms_says_moves_no_cursor_of_a_terminal(liar: Liar, tmp_path: Path) -> None:
    liar.status, liar.body = 403, b'{"errors": ["\\u001b[2J\\ud800"]}'
    settings = {name: str(value) for name, value in liar.settings.items()}
    for arguments in (["status"], ["key", "list"]):
        done = Command(tmp_path).run("kms", *arguments, BAO_TOKEN="token", **settings)
        assert done.returncode == 1 and "\\x1b[2J" in done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_a_kms_that_hangs_is_given_up_and_then_used_again(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            settings = bao.role(key, key).settings(proxy.endpoint, STRONGROOM_VAULT_TIMEOUT="1")
            async with opened(settings) as kms:
                wrapped = await made(kms)
                proxy.hold()
                answers = await asyncio.gather(*(kms.unwrap([(wrapped.wrapped, CONTEXT)]) for _ in range(50)))
                assert all(isinstance(answer[0], KMSUnavailable) for answer in answers)
                proxy.release()
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_one_request_that_hangs_holds_up_no_other(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint, STRONGROOM_VAULT_TIMEOUT="60")) as kms:
                wrapped = await made(kms)
                proxy.hold_one_request()
                stuck = asyncio.create_task(unwrapped(kms, wrapped.wrapped))
                await asyncio.to_thread(proxy.stuck.wait)
                async with asyncio.timeout(30):
                    for _ in range(100):
                        assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
                assert not stuck.done()
                stuck.cancel()
                await asyncio.gather(stuck, return_exceptions=True)

    asyncio.run(main())


def test_a_kms_that_is_restarted_sealed_is_unavailable_until_it_is_unsealed(tmp_path: Path) -> None:
    async def main() -> None:
        with OpenBao(tmp_path) as bao:
            bao.prepare()
            async with opened(bao.role("key", "key").settings()) as kms:
                wrapped = await made(kms)
                bao.stop()
                with pytest.raises(KMSUnavailable, match=bao.endpoint):
                    await unwrapped(kms, wrapped.wrapped)
                bao.start()
                with pytest.raises(KMSUnavailable, match="sealed"):
                    await unwrapped(kms, wrapped.wrapped)
                with pytest.raises(KMSUnavailable, match="sealed"):
                    await made(kms)
                bao.unseal()
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_why_a_kms_does_not_answer_stands_in_the_error(liar: Liar) -> None:
    liar.status, liar.body = 400, b'{"data": {"batch_results": [{"error": "something\\n new"}]}}'

    async def main() -> None:
        async with opened(liar.settings) as kms:
            with pytest.raises(KMSUnavailable, match="cannot use the master key 'key': something new"):
                await unwrapped(kms, WRAPPED)

    asyncio.run(main())


# -- connections ---------------------------------------------------------------------------------------------------


class Node:
    """A node of a KMS, which answers each request with ``answer`` (HTTP), keeps the heads of requests in ``asked``, and
    counts its ``connections``, and those that are ``open``. The first ``lost`` of them are closed when a request comes,
    and all behind an answer once it ``ends``. While ``held`` is not set, no answer goes out.
    """

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.connections = self.open = self.lost = 0
        self.ends = False
        self.held = asyncio.Event()
        self.held.set()
        self._served: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.client = VaultClient(VaultAddress(address))
        await self.client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()
        self._server.close()
        await asyncio.gather(*filter(None, self._served))  # each ends with its connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.add(asyncio.current_task())
        self.connections += 1
        self.open += 1
        number, held = self.connections, self.held
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head)
                if number <= self.lost:
                    break
                await asyncio.sleep(0.05)
                await held.wait()
                writer.write(self.answer)
                if self.ends:
                    break
        self.open -= 1
        writer.close()


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def test_connections_that_a_node_has_lost_cost_no_request() -> None:
    async def main() -> None:
        async with Node(OK) as node:
            await asyncio.gather(*(node.client.call("GET", "x") for _ in range(5)))
            assert node.connections == 5
            node.lost = 5  # as if another had taken its address
            for _ in range(5):
                assert (await node.client.call("GET", "x")).ok

    asyncio.run(main())


def test_a_call_that_must_not_be_made_twice_is_made_once() -> None:
    """A new secret id, say: the first may have been made although no answer came."""

    async def main() -> None:
        async with Node(OK) as node:
            node.lost = 1
            with pytest.raises(KMSUnavailable, match="it closed the connection"):
                await node.client.call("POST", "x", repeatable=False)
            assert len(node.asked) == 1
            assert (await node.client.call("POST", "x", repeatable=False)).ok

    asyncio.run(main())


def test_a_connection_serves_any_number_of_long_answers() -> None:
    body = b'{"data": {"x": "' + b"x" * 1024**2 + b'"}}'

    async def main() -> None:
        async with Node(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)) as node:
            for _ in range(8):
                assert (await node.client.call("GET", "x")).ok
            assert node.connections == 1

    asyncio.run(main())


def test_a_call_says_what_a_vault_agent_wants_and_keeps_nothing_of_an_answer() -> None:
    async def main() -> None:
        async with Node(OK.replace(b"\r\n\r\n", b"\r\nset-cookie: a=hunter2; path=/\r\n\r\n")) as node:
            by_name = VaultClient(VaultAddress(node.client.address.url.replace("127.0.0.1", "localhost")))
            await by_name.start()
            await by_name.call("GET", "x", token=Secret("hunter3"))
            await by_name.call("GET", "x")
            await by_name.stop()
            assert len(node.asked) == 2
            for head in node.asked:
                assert b"\r\nX-Vault-Request: true\r\n" in head and b"\r\nAccept-Encoding: identity\r\n" in head
            assert b"hunter3" in node.asked[0]
            assert b"hunter" not in node.asked[1], "neither a cookie nor the token of another call"

    asyncio.run(main())


def test_connections_that_are_left_are_closed_when_the_calls_over_them_have_ended_and_not_before() -> None:
    async def main() -> None:
        async with Node(OK) as node:
            node.held.clear()
            slow = [asyncio.create_task(node.client.call("GET", "slow")) for _ in range(3)]
            await until(lambda: len(node.asked) == 3)
            held, node.held = node.held, asyncio.Event()
            node.held.set()
            node.answer = OK.replace(b"200", b"503")
            for _ in range(3):
                with pytest.raises(KMSUnavailable):
                    await node.client.call("GET", "x")
            node.answer = OK
            assert (await node.client.call("GET", "x")).ok
            held.set()
            assert all(answer.ok for answer in await asyncio.gather(*slow))
            await until(lambda: node.open == 1)
            assert (await node.client.call("GET", "x")).ok
            await node.client.stop()
            await until(lambda: node.open == 0)

    asyncio.run(main())


def test_a_node_that_does_not_answer_is_said_not_to() -> None:
    async def main() -> None:
        async with Node(OK) as node:
            node.held.clear()
            client = VaultClient(VaultAddress(node.client.address.url, timeout=0.2))
            await client.start()
            with pytest.raises(KMSUnavailable, match=r"no answer within 0\.2 s"):
                await client.call("GET", "x")
            node.held.set()
            await client.stop()

    asyncio.run(main())


def test_connections_that_several_calls_give_up_at_the_same_time_are_replaced_once() -> None:
    async def main() -> None:
        async with Node(OK.replace(b"200", b"503")) as node:
            failed = await asyncio.gather(*(node.client.call("GET", "x") for _ in range(5)), return_exceptions=True)
            assert [type(error) for error in failed] == [KMSUnavailable] * 5
            node.answer = OK
            await until(lambda: node.open == 0)
            node.held.clear()
            slow = asyncio.create_task(node.client.call("GET", "x"))
            await until(lambda: node.open == 1)
            node.held.set()
            assert (await slow).ok and node.open == 1

    asyncio.run(main())


@pytest.mark.parametrize("status", [500, 503, 307])
def test_a_node_that_is_not_at_work_is_not_kept_to(status: int) -> None:
    async def main() -> None:
        async with Node(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % status) as node:
            for _ in range(3):
                with pytest.raises(KMSUnavailable):
                    await node.client.call("GET", "x")
            assert node.connections == 3, "its name may be another's by now"
            node.answer = OK
            for _ in range(3):
                assert (await node.client.call("GET", "x")).ok
            assert node.connections == 4

    asyncio.run(main())


def test_nothing_is_sent_to_where_a_node_redirects() -> None:
    """Least of all the token."""

    async def main() -> None:
        async with Node(OK) as elsewhere:
            location = elsewhere.client.address.url.encode()
            async with Node(b"HTTP/1.1 307 X\r\nlocation: %s/v1/x\r\ncontent-length: 0\r\n\r\n" % location) as node:
                with pytest.raises(KMSUnavailable, match="it redirects elsewhere"):
                    await node.client.call("POST", "x", {}, Secret("token"))
            assert not elsewhere.asked

    asyncio.run(main())


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"])
def test_an_answer_that_is_no_http_is_not_repeated_in_the_error(head: bytes) -> None:
    async def main() -> None:
        async with Node(head + b'{"auth": {"client_token": "hunter2"}}\r\n') as node:
            with pytest.raises(KMSUnavailable, match="does not speak HTTP") as caught:
                await node.client.call("GET", "x")
            assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "one head of an answer after the other"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 5_000_000, "is longer than"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1_000_000, "is longer than"),
    ],
)
def test_an_answer_that_does_not_end_is_not_waited_for(answer: bytes, says: str) -> None:
    async def main() -> None:
        async with Node(answer) as node:
            with pytest.raises(KMSUnavailable, match=says):
                await node.client.call("GET", "x")
            node.answer = OK
            assert (await node.client.call("GET", "x")).ok

    asyncio.run(main())


def test_interim_answers_are_passed_over() -> None:
    async def main() -> None:
        async with Node(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK) as node:
            for _ in range(10):
                assert (await node.client.call("GET", "x")).ok
            assert node.connections == 1

    asyncio.run(main())


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_an_answer_that_comes_twice_is_not_taken_for_that_to_the_next_call(later: bool) -> None:
    """A proxy's fault, say. A data key would be stored as what the KMS made of the next one, and never open again."""
    said = Counter[str]()
    over = asyncio.Event()

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                answer = b'{"data": {"to": "%s"}}' % head.split()[1].rpartition(b"/")[2]
                answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)
                writer.write(answer if later else 2 * answer)
                if later:
                    await asyncio.sleep(0.05)
                    writer.write(answer)
                over.set()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(twice, "127.0.0.1", 0) as proxy:
            client = VaultClient(VaultAddress(f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"))
            await client.start()
            for number in "12345":
                over.clear()
                said[str((await client.call("GET", number)).data["to"])] += 1
                await over.wait()
                await asyncio.sleep(0.05)
            await client.stop()
            assert said == dict.fromkeys("12345", 1)

    asyncio.run(main())


def test_an_answer_that_is_compressed_is_not_unpacked() -> None:
    body = gzip.compress(b'{"data": "' + bytes(1024**2) + b'"}')
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def main() -> None:
        async with Node(head + body) as node:
            with pytest.raises(KMSUnavailable, match="compressed, which was not asked for"):
                await node.client.call("GET", "x")

    asyncio.run(main())


def test_an_answer_that_breaks_off_is_said_to() -> None:
    async def main() -> None:
        async with Node(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}") as node:
            node.ends = True
            with pytest.raises(KMSUnavailable, match="its answer broke off"):
                await node.client.call("GET", "x")

    asyncio.run(main())


# -- TLS -----------------------------------------------------------------------------------------------------------


def test_a_directory_of_authorities_is_taken_as_it_is(tls_bao: OpenBao, key: str, tmp_path: Path) -> None:
    assert tls_bao.certs is not None
    authorities = tmp_path / "authorities"
    authorities.mkdir()
    (authorities / "ours.pem").write_bytes((tls_bao.certs / "ca.crt").read_bytes())
    (authorities / "another").write_bytes((make_certificates(tmp_path / "other") / "ca.crt").read_bytes())
    (authorities / "README").write_text("no certificate")

    async def main() -> None:
        role = tls_bao.role(key, key)
        for path in (authorities, authorities / "ours.pem"):
            async with opened(role.settings(MINIO_SSE_VAULT_CAPATH=str(path))) as kms:
                wrapped = await made(kms)
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_the_certificate_of_the_kms_itself_may_be_what_is_trusted(tls_bao: OpenBao, key: str) -> None:
    async def main() -> None:
        certificate = str((tls_bao.certs or Path()) / "public.crt")
        async with opened(tls_bao.role(key, key).settings(MINIO_SSE_VAULT_CAPATH=certificate)) as kms:
            await made(kms)

    asyncio.run(main())


@pytest.mark.parametrize("stranger", ["another authority", "the system's authorities"])
def test_a_kms_that_is_not_trusted_gets_nothing(tls_bao: OpenBao, key: str, tmp_path: Path, stranger: str) -> None:
    other = str(make_certificates(tmp_path) / "ca.crt") if stranger == "another authority" else None

    async def main() -> None:
        async with opened(tls_bao.role(key, key).settings(MINIO_SSE_VAULT_CAPATH=other)) as kms:
            with pytest.raises(KMSUnavailable, match="its certificate is not trusted"):
                await made(kms)

    asyncio.run(main())


def test_a_kms_without_tls_at_an_address_with_it_is_said_to_be_so(liar: Liar) -> None:
    async def main() -> None:
        client = VaultClient(VaultAddress(str(liar.settings["MINIO_SSE_VAULT_ENDPOINT"]).replace("http:", "https:")))
        await client.start()
        with pytest.raises(KMSUnavailable, match=r"does not speak TLS as this server does .*WRONG_VERSION_NUMBER"):
            await client.call("GET", "x")
        await client.stop()

    asyncio.run(main())


def test_a_proxy_that_has_no_node_behind_it_is_said_to_close_the_connection() -> None:
    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(turn_away, "127.0.0.1", 0) as proxy:
            client = VaultClient(VaultAddress(f"https://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"))
            await client.start()
            with pytest.raises(KMSUnavailable, match="it closed the connection before TLS"):
                await client.call("GET", "x")
            await client.stop()

    asyncio.run(main())


def test_a_client_certificate_is_shown_where_it_is_asked_for_and_a_new_one_is_picked_up(tmp_path: Path) -> None:
    certs, other = make_certificates(tmp_path / "certs"), make_certificates(tmp_path / "other")
    names = {"public.crt": "client.crt", "private.key": "client.key"}

    def give(issuer: Path) -> None:
        for name, copied in names.items():
            (certs / copied).write_bytes((issuer / name).read_bytes())

    async def main() -> None:
        give(certs)
        with OpenBao(tmp_path / "bao", certs, client_ca=certs / "ca.crt") as bao:
            bao.prepare()
            role = bao.role("key", "key")
            async with opened(role.settings()) as kms:
                with pytest.raises(KMSUnavailable, match="certificate required"):
                    await made(kms)
            shown = {
                "STRONGROOM_VAULT_CLIENT_CERT": str(certs / "client.crt"),
                "STRONGROOM_VAULT_CLIENT_KEY": str(certs / "client.key"),
            }
            give(other)  # as good as one that has expired
            async with opened(role.settings(**shown)) as kms:
                with pytest.raises(KMSUnavailable, match="it closed the connection"):
                    await made(kms)
                give(certs)
                with contextlib.suppress(KMSUnavailable):
                    await made(kms)
                wrapped = await made(kms)
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_authorities_that_cannot_be_read_again_are_said_to_once_and_taken_when_they_can(
    tls_bao: OpenBao, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert tls_bao.certs is not None
    good, other = (tls_bao.certs / "ca.crt").read_bytes(), make_certificates(tmp_path / "other") / "ca.crt"
    authorities = tmp_path / "authorities"
    authorities.mkdir()
    file = authorities / "ca.crt"
    file.write_bytes(other.read_bytes())

    async def main() -> None:
        settings = tls_bao.role(key, key).settings(MINIO_SSE_VAULT_CAPATH=str(authorities))
        async with opened(settings) as kms:
            file.write_bytes(good[: len(good) // 2])  # it is being replaced
            for _ in range(3):
                with pytest.raises(KMSUnavailable, match="its certificate is not trusted"):
                    await made(kms)
            said = [record for record in caplog.records if "cannot be read again" in record.message]
            assert [str(file) in str(vars(record)["reason"]) for record in said] == [True]
            file.write_bytes(good)
            with contextlib.suppress(KMSUnavailable):
                await made(kms)
            await made(kms)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        (b"", "there is no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is damaged"),
    ],
)
def test_authorities_that_are_none_are_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    async def main() -> None:
        settings = {**SETTINGS, "MINIO_SSE_VAULT_ENDPOINT": "https://127.0.0.1:1", "MINIO_SSE_VAULT_CAPATH": str(file)}
        with pytest.raises(BadTLSFile, match=says):
            async with opened(settings):
                pass

    asyncio.run(main())


# -- namespaces ----------------------------------------------------------------------------------------------------


def test_a_namespace_is_asked(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        bao.prepare("storage")
        role = bao.role(key, key, namespace="storage")
        async with opened(role.settings()) as kms:
            wrapped = await made(kms)
            assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
        async with opened(role.settings(MINIO_SSE_VAULT_NAMESPACE=None)) as kms:
            with pytest.raises(KMSError):
                await made(kms)

    asyncio.run(main())
