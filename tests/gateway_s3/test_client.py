"""The client of the backend, with answers that no real one can be made to give: redirects, documents to distrust."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from strongroom.secret import Secret
from strongroom.sigv4 import SigningCredential
from strongroom.store.base import ALWAYS, Condition, Part, Record, Stored
from strongroom.store.errors import (
    ConditionFailed,
    Damaged,
    NameRefused,
    NoSuchObject,
    ObjectChanged,
    Refused,
    Unavailable,
)
from strongroom.store.s3 import Client, S3Store, backend_listing, parse_endpoint, xml
from strongroom.store.s3 import client as client_module
from strongroom.store.s3.backend_listing import list_names
from strongroom.store.s3.credentials import FixedCredentials
from strongroom.store.s3.encryption import NOT_ENCRYPTED
from strongroom.store.s3.messages import Request
from strongroom.store.s3.metadata import BACKEND_ID, Described, HiddenRecord, http_time
from strongroom.store.s3.names import completing_name, new_id
from strongroom.store.s3.reading import S3Reader
from strongroom.store.s3.regions import Regions
from strongroom.store.s3.streaming import StreamedBody
from strongroom.store.s3.sweep import Sweep
from strongroom.store.s3.writing import S3PartWriter
from tests.certificates import make_certificates

Reply = tuple[int, dict[str, str], bytes]


class Fake:
    """A backend that answers what ``reply`` says, given the region that a request was signed for."""

    def __init__(self, certs: Path | None = None) -> None:
        self.ca = certs / "ca.crt" if certs else None
        self.reply: Callable[[str], Reply] = lambda region: (200, {}, b"")
        self.reply_to: Callable[[str], Reply] | None = None
        """What is answered to a path, where that matters."""
        self.regions: list[str] = []
        self.conditions: list[str] = []
        """The ETags that requests demand."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", self.headers["authorization"])
                assert scope
                fake.regions.append(scope[1])
                fake.conditions += self.headers.get_all("if-match", [])
                self.close_connection = True
                status, headers, body = fake.reply_to(self.path) if fake.reply_to else fake.reply(scope[1])
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_DELETE = handle_any  # noqa: N815

            def handle_expect_100(self) -> bool:
                self.handle_any()
                return False

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"{'https' if certs else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        if certs:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certs / "public.crt", certs / "private.key")
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def run(self, use: Callable[[Client], Awaitable[Any]]) -> Any:
        """What ``use`` comes to with a client of this backend."""

        async def started() -> Any:
            own = SigningCredential("access", Secret("secret"))
            client = Client(parse_endpoint(self.endpoint), "us-east-1", own, ca=self.ca, chain=False, timeout=5)
            await client.start()
            try:
                return await use(client)
            finally:
                await client.stop()

        return asyncio.run(started())


@pytest.fixture
def fake() -> Iterator[Fake]:
    backend = Fake()
    yield backend
    backend.close()


MALFORMED = (
    b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong</Message>"
    b"<Region>eu-central-1</Region></Error>"
)


@pytest.mark.parametrize(
    "redirect",
    [
        (301, {"x-amz-bucket-region": "eu-central-1"}, b"<Error><Code>PermanentRedirect</Code></Error>"),
        (400, {}, MALFORMED),
    ],
)
def test_the_region_of_a_bucket_is_learnt_once(fake: Fake, redirect: Reply) -> None:
    fake.reply = lambda region: redirect if region == "us-east-1" else (200, {}, b"")

    async def use(client: Client) -> None:
        await client.send(Request("GET", "bucket", "a"))
        await client.send(Request("GET", "bucket", "b"))
        await client.send(Request("PUT", "other"))

    fake.run(use)
    assert fake.regions == ["us-east-1", "eu-central-1", "eu-central-1", "us-east-1", "eu-central-1"]


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ((403, {}, b"<Error><Code>InvalidAccessKeyId</Code></Error>"), Unavailable),
        ((403, {}, b"<Error><Code>AccessDenied</Code></Error>"), Refused),
        ((206, {}, b"content"), Refused),
        ((403, {}, b""), Refused),
    ],
)
def test_a_head_that_is_refused_is_asked_once_whether_it_is_this_server_that_is(
    fake: Fake, why: Reply, kind: type[Exception]
) -> None:
    replies: Iterator[Reply] = iter([(403, {}, b""), why])
    fake.reply = lambda region: next(replies)
    with pytest.raises(kind):
        fake.run(lambda client: client.send(Request("HEAD", "bucket", "key")))
    assert len(fake.regions) == 2


@pytest.mark.parametrize("region", [b"a&#13;&#10;b", "\u20ac".encode(), b"a/b", b"a" * 100])
def test_a_region_that_is_none_is_not_kept(fake: Fake, region: bytes) -> None:
    """All later requests for the bucket would be signed for it."""
    refusal: Reply = (400, {}, MALFORMED.replace(b"eu-central-1", region))
    replies: Iterator[Reply] = iter([refusal, (200, {}, b"")])
    fake.reply = lambda region: next(replies)

    async def use(client: Client) -> int:
        with pytest.raises(Refused):
            await client.send(Request("GET", "bucket", "a"))
        return (await client.send(Request("GET", "bucket", "a"))).status

    assert fake.run(use) == 200


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no XML",
        b"<Other/>",
        b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult><Prefix>&a;</Prefix></ListBucketResult>',
        b"<ListBucketResult>" + b"<a/>" * 5_000_000,
        b"<ListBucketResult>" + b"<a/>" * 1_000_000 + b"</ListBucketResult>",
        b"<ListBucketResult a='" + bytes([97]) * 1_000_000 + b"'/>",
    ],
    ids=["empty", "text", "other", "unfinished", "no token", "entity", "endless", "elements", "tag"],
)
def test_a_document_that_cannot_be_meant_is_no_answer(fake: Fake, document: bytes) -> None:
    fake.reply = lambda region: (200, {}, document)
    with pytest.raises(Unavailable):
        fake.run(lambda client: list_names(client, "bucket", "", "", "", 10))


def test_a_listing_that_goes_on_where_it_began_ends(fake: Fake) -> None:
    document = b"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    fake.reply = lambda region: (200, {}, b"<ListBucketResult>" + document + b"</ListBucketResult>")
    with pytest.raises(Unavailable):
        fake.run(lambda client: S3Store(client).list("bucket", "", "", "", 10))


def entry(key: str, etag: str = "e", further: str = "") -> str:
    """An object in a listing."""
    moment = "<LastModified>2026-01-01T00:00:00Z</LastModified>"
    return f"<Contents><Key>{key}</Key><ETag>{etag}</ETag><Size>1</Size>{moment}{further}</Contents>"


@pytest.mark.parametrize("entries", ["", entry("a"), entry(".strongroom.sys/uploads/x/part")])
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.list("bucket", "", "", "a", 10),
        lambda store: store.list("bucket", "", "x", "a", 10),
        lambda store: store.uploads("bucket", "", "", ("", ""), 10),
        lambda store: Sweep(store.client, "bucket").run(),
    ],
)
def test_a_listing_that_brings_nothing_new_on_ever_more_pages_ends(
    fake: Fake, use: Callable[[S3Store], Awaitable[Any]], entries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_listing, "_IDLE_PAGES", 20)
    tokens = count()

    def more(region: str) -> Reply:
        following = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{next(tokens)}</NextContinuationToken>"
        return 200, {}, f"<ListBucketResult>{following}{entries}</ListBucketResult>".encode()

    fake.reply = more
    with pytest.raises(Unavailable, match="get on"):
        fake.run(lambda client: use(S3Store(client)))


UPLOAD = HiddenRecord("key", 0, {BACKEND_ID: b"id"})


@pytest.mark.parametrize("number", [0, 1, 10_001])
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.parts("bucket", "key", new_id(), 1, 10),
        lambda store: Sweep(store.client, "bucket")._parts(UPLOAD),
    ],
)
def test_a_list_of_parts_that_does_not_get_on_ends(
    fake: Fake, use: Callable[[S3Store], Awaitable[Any]], number: int
) -> None:
    part = f"<Part><PartNumber>{number}</PartNumber><ETag>e</ETag><Size>1</Size>"
    part += "<LastModified>2026-01-01T00:00:00Z</LastModified></Part>"
    following = f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{number}</NextPartNumberMarker>"

    def reply(path: str) -> Reply:
        if path.endswith("/record"):
            return 200, {}, UPLOAD.encode()
        if "list-type" in path:
            return 200, {}, b"<ListBucketResult/>"
        return 200, {}, f"<ListPartsResult>{following}{part}</ListPartsResult>".encode()

    fake.reply_to = reply
    with pytest.raises(Unavailable, match="get on"):
        fake.run(lambda client: use(S3Store(client)))


@pytest.mark.parametrize("whole", [True, False])
def test_a_backend_that_says_unasked_that_nothing_was_modified_gives_no_answer(fake: Fake, whole: bool) -> None:
    fake.reply = lambda region: (304, {"ETag": '"e"', "Content-Length": ""}, b"")
    with pytest.raises(Unavailable):
        fake.run(lambda client: S3Store(client).open("bucket", "o", whole=whole))


def test_what_a_listing_does_not_tell_of_an_object_is_told_by_its_headers_each_time(fake: Fake) -> None:
    etags = iter(["one", "two"])

    def reply(path: str) -> Reply:
        if "list-type" in path:
            return 200, {}, b"<ListBucketResult><Contents><Key>folder/</Key></Contents></ListBucketResult>"
        return 200, {"ETag": next(etags), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length": "0"}, b""

    async def use(client: Client) -> list[str]:
        store = S3Store(client)
        pages = [await store.list("bucket", "", "", "", 10) for _ in range(2)]
        return [stored.identity for page in pages for stored in page.objects]

    fake.reply_to = reply
    assert [identity.split()[0] for identity in fake.run(use)] == ["one", "two"]


def test_a_listing_goes_on_past_an_object_without_an_etag(fake: Fake) -> None:
    listed = b"<ListBucketResult><Contents><Key>folder/</Key></Contents></ListBucketResult>"
    fake.reply_to = lambda path: (200, {}, listed if "list-type" in path else b"")
    page = fake.run(lambda client: S3Store(client).list("bucket", "", "", "", 10))
    assert [stored.key for stored in page.objects] == ["folder/"]


def test_what_is_remembered_of_objects_is_bounded_however_long_their_etags_are(fake: Fake) -> None:
    numbers = count()
    described = {"Server": "MinIO"}

    def page(region: str) -> Reply:
        found = [
            entry(f"a{next(numbers)}", "e" * 40_000).replace("<Size>", "<UserMetadata/><Size>") for _ in range(200)
        ]
        return 200, described, f"<ListBucketResult>{''.join(found)}</ListBucketResult>".encode()

    async def use(client: Client) -> int:
        store = S3Store(client)
        await client.send(Request("GET", "bucket"))  # which tells what the backend is
        tracemalloc.start()
        try:
            for _ in range(14):
                await store.list("bucket", "", "", "", 1000)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    fake.reply = page
    assert fake.run(use) < 90_000_000


@pytest.mark.parametrize("document", [b"", b"[1]", b"null", b'{"a": 1}', b"[" * 100_000])
def test_settings_that_are_none_are_damaged(fake: Fake, document: bytes) -> None:
    fake.reply = lambda region: (200, {"ETag": '"e"'}, document)
    with pytest.raises(Damaged):
        fake.run(lambda client: S3Store(client).bucket("bucket"))


def test_settings_are_replaced_where_a_proxy_says_that_their_etag_is_weak(fake: Fake) -> None:
    fake.reply = lambda region: (200, {"ETag": 'W/"e"'}, b"{}")
    fake.run(lambda client: S3Store(client).set_bucket("bucket", "a", b"b"))
    assert fake.conditions == ['"e"']


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-23:59"])
def test_a_time_out_of_all_bounds_is_the_nearest_within(fake: Fake, moment: str) -> None:
    listed = f"<Bucket><Name>b</Name><CreationDate>{moment}</CreationDate></Bucket>"
    document = f"<ListAllMyBucketsResult><Buckets>{listed}</Buckets></ListAllMyBucketsResult>"
    fake.reply = lambda region: (200, {}, document.encode())
    (bucket,) = fake.run(lambda client: S3Store(client).buckets())
    assert datetime.fromtimestamp(bucket.created / 1_000_000_000, UTC).year in (1970, 9999)


@pytest.mark.parametrize("status", [400, 403, 503, 200])
def test_a_refusal_that_repeats_a_client_s_key_does_not_show_it(fake: Fake, status: int) -> None:
    """It is logged, and told to clients."""
    key = bytes(range(100, 132))
    encoded = base64.b64encode(key)
    fake.reply = lambda region: (
        status,
        {"ETag": '"e"'},
        b"<Error><Code>NoGood</Code><Message>this is bad: %s</Message></Error>" % encoded,
    )

    async def use(client: Client) -> None:
        store = S3Store(client).encrypted(customer_key=Secret(key))
        if status != 200:
            await store.open("bucket", "o")
        source = S3Reader(
            client, "bucket", Described("o", 9, "e", "", 0, {}), Stored("o", 9, 0, {}, "e "), None, NOT_ENCRYPTED
        )
        client.software = "AmazonS3"  # which is asked to copy at once
        await store.copy(source, "bucket", "o", {}, b"")

    with pytest.raises(Refused) as refused:
        fake.run(use)
    assert "this is bad: [redacted]" in str(refused.value)
    assert refused.value.message == "this is bad: [redacted]"


def test_an_object_without_an_etag_is_no_answer(fake: Fake) -> None:
    fake.reply = lambda region: (200, {}, b"content")
    with pytest.raises(Unavailable):
        fake.run(lambda client: S3Store(client).open("bucket", "o"))


def test_bytes_of_another_object_than_was_opened_are_not_taken_whatever_the_backend_makes_of_the_condition(
    fake: Fake,
) -> None:
    replies: Iterator[Reply] = iter([(200, {"ETag": '"e"'}, bytes(10)), (206, {"ETag": '"other"'}, bytes(5))])
    fake.reply = lambda region: next(replies)

    async def use(client: Client) -> None:
        reader = await S3Store(client).open("bucket", "o", whole=False)
        async for _ in reader.stream(5, 5):
            pass

    with pytest.raises(ObjectChanged):
        fake.run(use)


@pytest.mark.parametrize("whole", [True, False])
def test_an_object_whose_length_the_backend_does_not_say_is_not_taken_for_an_empty_one(fake: Fake, whole: bool) -> None:
    fake.reply = lambda region: (
        200,
        {"ETag": '"e"', "Content-Length": "", "Transfer-Encoding": "chunked"},
        b"0\r\n\r\n",
    )
    with pytest.raises(Unavailable, match="how long"):
        fake.run(lambda client: S3Store(client).open("bucket", "o", whole=whole))
    with pytest.raises(Unavailable, match="how long"):
        fake.run(lambda client: S3Store(client).head("bucket", "o"))


@pytest.mark.parametrize("gone", [True, False])
def test_a_conditional_removal_that_was_done_is_not_told_to_have_failed(fake: Fake, gone: bool) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    looks: list[Reply] = [(404, {}, b""), (200, {}, b"")] if gone else [(200, {"ETag": '"another"'}, b"")]
    there: Reply = (200, {"ETag": '"e"', "Last-Modified": date}, b"")
    replies = iter([there, (502, {}, b""), (412, {}, b""), *looks])
    fake.reply = lambda region: next(replies)
    when = Condition(identity=f"e {http_time(date)}")
    with contextlib.nullcontext() if gone else pytest.raises(ConditionFailed):
        assert fake.run(lambda client: S3Store(client).delete("bucket", "o", when))


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("conditional", [True, False])
def test_a_removal_of_what_somebody_else_removes_at_that_moment_is_done(
    fake: Fake, gone: bool, conditional: bool
) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    looks: list[Reply] = [(404, {}, b""), (200, {}, b"")] if gone else [(200, {"ETag": '"another"'}, b"")]
    there: Reply = (200, {"ETag": '"e"', "Last-Modified": date, "Connection": "close"}, b"")
    replies = iter([there, (404, {}, b"<Error><Code>NoSuchKey</Code></Error>"), *looks])
    fake.reply = lambda region: next(replies)
    when = Condition(identity=f"e {http_time(date)}") if conditional else ALWAYS
    with contextlib.nullcontext() if gone and not conditional else pytest.raises(NoSuchObject):
        assert fake.run(lambda client: S3Store(client).delete("bucket", "o", when))


@pytest.mark.parametrize("key", ["admin/v3/info", "kms/v1/status"])
def test_what_a_minio_takes_for_its_administration_is_not_sent(fake: Fake, key: str) -> None:
    for method in ("GET", "PUT"):
        request = Request(method, "minio", key)
        with pytest.raises(NameRefused):
            fake.run(partial(Client.send, request=request))
    assert fake.regions == []


def test_a_temporary_redirect_tells_the_region_as_well_as_the_host(fake: Fake) -> None:
    host = fake.endpoint.removeprefix("http://")

    def reply(region: str) -> Reply:
        if region == "eu-west-1":
            return 200, {}, b""
        headers = {"x-amz-bucket-region": "eu-west-1", "location": f"http://{host}/"}
        return 307, headers, b"<Error><Code>TemporaryRedirect</Code></Error>"

    async def use(client: Client) -> None:
        client._regions._hosts["bucket"] = host  # as a redirect to a host of AWS leaves it
        for _ in range(2):
            await client.send(Request("GET", "bucket", "key"))

    fake.reply = reply
    fake.run(use)
    assert fake.regions == ["us-east-1", "eu-west-1", "eu-west-1"]


@pytest.mark.parametrize("location", ["http://[s3.amazonaws.com/", "http://s3.amazonaws.com.example/", "", "/"])
def test_a_redirect_to_what_is_no_host_of_aws_is_not_followed(location: str) -> None:
    regions = Regions(parse_endpoint(None), "us-east-1")
    before = regions.address("bucket", "key")
    regions.follow("bucket", location)
    assert regions.address("bucket", "key") == before


def test_a_redirect_that_names_no_address_is_an_answer_like_others(fake: Fake) -> None:
    redirect = b"<Error><Code>TemporaryRedirect</Code></Error>"
    fake.reply = lambda region: (307, {"location": "http://[x/"}, redirect)
    with pytest.raises(Refused, match="TemporaryRedirect"):
        fake.run(partial(Client.send, request=Request("GET", "bucket", "key")))


@pytest.mark.parametrize(
    ("redirect", "said", "regions"),
    [
        ((503, {}, b"<Error><Code>SlowDown</Code></Error>"), "SlowDown", ["us-east-1"] * 4),
        ((400, {}, MALFORMED), "AccessDenied", ["us-east-1", "eu-central-1"]),
    ],
)
def test_a_body_that_comes_once_is_not_sent_where_the_backend_says_no_first(
    fake: Fake, redirect: Reply, said: str, regions: list[str]
) -> None:
    """So it can be asked again, and where the bucket lies."""
    denied: Reply = (403, {}, b"<Error><Code>AccessDenied</Code></Error>")
    fake.reply = lambda region: redirect if region == "us-east-1" else denied

    async def use(client: Client) -> list[int]:
        body = StreamedBody(10_000_000)
        sent = 0

        async def feed() -> None:
            nonlocal sent
            for _ in range(100):
                await body.put(bytes(100_000))
                sent += 100_000

        feeding = asyncio.create_task(feed())
        with pytest.raises(Refused, match=said):
            await client.send(Request("PUT", "bucket", "o", body=body))
        feeding.cancel()
        return [sent]

    assert fake.run(use)[0] < 1_000_000
    assert fake.regions == regions


def test_a_part_that_its_client_gives_up_leaves_nothing_running(fake: Fake) -> None:
    """Though the backend takes none of it, so that there is always something that waits to be sent."""

    async def use(client: Client) -> None:
        never = asyncio.Event()

        async def send(request: Request) -> Any:
            await never.wait()

        async def done(etag: str, size: int, record: Record) -> Part:
            raise AssertionError

        client.send = send  # type: ignore[method-assign]
        writer = S3PartWriter(client, Request("PUT", "bucket", "o"), 10_000_000, done)
        before = asyncio.all_tasks()
        writing = asyncio.create_task(writer.write(bytes(10_000_000)))
        await asyncio.sleep(0.01)
        writing.cancel()
        await asyncio.wait([writing])
        await writer.abort()
        assert asyncio.all_tasks() == before

    fake.run(use)


def test_a_hidden_name_whose_folder_goes_at_that_moment_is_written_again(fake: Fake) -> None:
    """versitygw says so of a folder that it removes because it became empty; of clients' names it may be true."""
    gone: Reply = (409, {}, b"<Error><Code>ExistingObjectIsDirectory</Code></Error>")
    fake.reply = lambda region: gone if len(fake.regions) == 1 else (200, {}, b"")

    async def use(client: Client) -> None:
        await client.send(Request("PUT", "bucket", completing_name(new_id()), body=b"x"))
        assert len(fake.regions) == 2
        fake.regions.clear()
        with pytest.raises(Refused, match="ExistingObjectIsDirectory"):
            await client.send(Request("PUT", "bucket", "a/b", body=b"x"))
        assert len(fake.regions) == 1

    fake.run(use)


def test_one_signature_that_is_found_wrong_while_others_are_not_does_not_cost_the_credentials(fake: Fake) -> None:
    asked: list[None] = []

    class Source(FixedCredentials):
        def refused(self) -> None:
            asked.append(None)

    async def use(client: Client) -> None:
        client._credentials = Source(SigningCredential("access", Secret("secret")))
        fake.reply = lambda region: (200, {}, b"")
        await client.send(Request("GET", "bucket", "a"))
        for code, times in (("SignatureDoesNotMatch", 0), ("ExpiredToken", 1)):
            refusal = b"<Error><Code>%s</Code></Error>" % code.encode()
            fake.reply = partial(lambda document, region: (403, {}, document), refusal)
            with pytest.raises(Unavailable):
                await client.send(Request("PUT", "bucket", "a", headers={"x-amz-meta-a": "\xc2\xa0"}))
            assert len(asked) == times
        await asyncio.sleep(1.1)
        fake.reply = lambda region: (403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        with pytest.raises(Unavailable):
            await client.send(Request("GET", "bucket", "a"))
        assert len(asked) == 2

    fake.run(use)


@pytest.mark.parametrize(
    "document",
    [
        b"<Delete><Object><Key>a</Key></Object><Object><Key>hidden</Key></Object></Delete>",
        b"<x:Delete xmlns:x='y'><x:Object><x:Key>hidden</x:Key></x:Object></x:Delete>",
        b"<Delete><Object><Key>a</Key><Key>hidden</Key></Object></Delete>",
        b"<Delete><Object><Key>hid<!-- -->d<?b x?>en</Key></Object></Delete>",
        b"<Delete><Object><Key><![CDATA[hid]]>d&#101;n</Key></Object></Delete>",
    ],
)
def test_every_name_that_a_backend_could_read_in_a_document_is_seen(document: bytes) -> None:
    assert "hidden" in xml.texts_of_all(document, "Key", 100)


@pytest.mark.parametrize("key", [b"<b>hid</b>den", b"hid<b/>den", b"<Key>hidden</Key>"])
def test_a_name_that_backends_could_read_differently_is_none(key: bytes) -> None:
    with pytest.raises(xml.BadAnswer):
        xml.texts_of_all(b"<Delete><Object><Key>%s</Key></Object></Delete>" % key, "Key", 100)


def test_what_a_stranger_s_document_holds_beside_names_is_not_kept() -> None:
    document = b"<Delete><Key>a</Key>%s</Delete>" % (b'<a b="" c="" d=""/>' * 50_000)
    tracemalloc.start()
    try:
        assert xml.texts_of_all(document, "Key", 100_000) == ["a"]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(xml.BadAnswer):
        xml.texts_of_all(document, "Key", 40_000)


@pytest.mark.usefixtures("python_3_13")
def test_a_backend_s_authority_may_be_one_that_openssl_made(tmp_path: Path) -> None:
    backend = Fake(make_certificates(tmp_path, key_usage=False))
    try:
        assert backend.run(lambda client: client.send(Request("GET"))).status == 200
    finally:
        backend.close()


@pytest.mark.parametrize("passed_on", [False, True])
def test_an_answer_to_what_takes_long_has_an_end_though_it_brings_a_byte_now_and_then(
    monkeypatch: pytest.MonkeyPatch, passed_on: bool
) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.02)
        finally:
            writer.transport.abort()

    async def work() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            own = SigningCredential("access", Secret("secret"))
            client = Client(parse_endpoint(f"http://127.0.0.1:{port}"), "us-east-1", own, chain=False, timeout=60)
            await client.start()
            request = Request("PUT", "bucket", "copy", headers={"x-amz-copy-source": "/bucket/o"}, again=False)
            with pytest.raises(Unavailable, match="broke off"):
                if passed_on:
                    await (await client.open(request, raw=True)).whole(100_000)
                else:
                    await client.send(request)
            await client.stop()
            await asyncio.sleep(0.1)  # for the server to see that it is over

    monkeypatch.setattr(client_module, "_LONGEST", 0.3)
    asyncio.run(asyncio.wait_for(work(), 60))
