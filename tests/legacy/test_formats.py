"""Legacy documents, keys and streams: everything that a MinIO of 2019 wrote opens, and what it did not is refused."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from strongroom.legacy.context import bound_name, context_forms
from strongroom.legacy.datakey import DataKeyRefused, hchacha20, open_data_key, wrapped_by_vault
from strongroom.legacy.document import DEFAULT_ETAG, SEAL_ALGORITHM, Sealing, read_document
from strongroom.legacy.errors import LegacyDamaged, NotCovered
from strongroom.legacy.package import SEALED_KEY, PackageRefused, open_package
from strongroom.legacy.seals import etag_with_key, etag_without_key, open_object_key
from strongroom.sealed.dare import Opener, Sealer, new_nonce, plaintext_size
from strongroom.sealed.keys import part_key
from strongroom.sealed.legacy import Inherited, inherited
from strongroom.store.base import LEFT, Stored
from strongroom.store.errors import Damaged
from tests.legacy import left

INTERNAL = "X-Minio-Internal-"
SSE = INTERNAL + "Server-Side-Encryption-"


@pytest.mark.parametrize("name", left.STATIC)
def test_every_object_that_minio_left_opens(name: str, tmp_path: Path) -> None:
    folder = left.unpack(name, tmp_path)
    for entry in left.manifest(name):
        legacy, stored = read_document(left.document(name, folder, entry.key)), left.data(name, folder, entry.key)
        assert legacy.headers["content-type"] == entry.content_type
        kept = {n.removeprefix("x-amz-meta-"): v for n, v in legacy.headers.items() if n.startswith("x-amz-meta-")}
        assert kept == entry.metadata
        if legacy.sealing is None:
            assert (entry.sse_header, stored, legacy.etag) == (None, entry.plaintext, entry.etag)
            continue
        key = left.object_key(entry, legacy)
        assert etag_with_key(legacy, key) == entry.etag
        parts = [(part_key(key, part.number), part.stored) for part in legacy.parts or ()] or [(key, len(stored))]
        plaintext = b""
        for secret, size in parts:
            plaintext += Opener(secret, plaintext_size(size)).open(stored[:size])
            stored = stored[size:]
        assert (hashlib.sha256(plaintext).hexdigest(), stored) == (entry.sha256, b"")


def test_what_vault_wrapped_is_told_apart(tmp_path: Path) -> None:
    folder = left.unpack("server-fs-vault", tmp_path)
    for entry in left.manifest("server-fs-vault"):
        sealing = read_document(left.document("server-fs-vault", folder, entry.key)).sealing
        assert sealing is not None
        assert wrapped_by_vault(sealing.wrapped) is not entry.is_sse_c


def test_another_master_key_or_name_opens_nothing(tmp_path: Path) -> None:
    folder = left.unpack("gateway-nas", tmp_path)
    sealing = read_document(left.document("gateway-nas", folder, "s3/size-1.bin")).sealing
    assert sealing is not None
    here, other = (context_forms({"ledger": f"ledger/{key}"}) for key in ("s3/size-1.bin", "s3/size-0.bin"))
    for master_key, contexts in ((bytes(32), here), (left.MASTER_KEY, other)):
        with pytest.raises(DataKeyRefused):
            open_data_key(master_key, sealing.key_id, sealing.wrapped, contexts)
    data_key = open_data_key(left.MASTER_KEY, sealing.key_id, sealing.wrapped, here)
    for external, name in ((bytes(32), "ledger/s3/size-1.bin"), (data_key, "ledger/s3/size-0.bin")):
        with pytest.raises(PackageRefused):
            open_object_key(external, sealing, name)


def test_a_sealed_key_that_was_altered_or_cut_is_refused_and_nothing_worse() -> None:
    key, secret = bytes(range(32)), bytes(32)
    package = bytes(Sealer(key, new_nonce()).seal(secret, final=True))
    assert (open_package(key, package), len(package)) == (secret, SEALED_KEY)
    altered = [
        package[:at] + bytes([package[at] ^ bit]) + package[at + 1 :] for at in range(len(package)) for bit in (1, 0x80)
    ]
    longer = bytes(Sealer(key, new_nonce()).seal(bytes(65_537), final=True))
    for spoilt in (*altered, *(package[:end] for end in range(len(package))), package + b"\0", package * 2, longer):
        with pytest.raises(PackageRefused):
            open_package(key, spoilt)


def test_contexts_have_the_escapes_of_their_release() -> None:
    assert context_forms({"b": "b/plain ünï"}) == ('{"b":"b/plain ünï"}'.encode(),)
    raw, escaped = context_forms({"b": 'b/<a&b>"\\\n\u2028'})
    assert raw == '{"b":"b/<a&b>"\\\n\u2028"}'.encode()
    assert escaped == rb'{"b":"b/\u003ca\u0026b\u003e\"\\\n\u2028"}'


@pytest.mark.parametrize(
    ("key", "name"), [("a/b", "b/a/b"), ("a//b", "b/a/b"), ("a/", "b/a"), ("./a", "b/a"), ("ü", "b/ü")]
)
def test_names_are_bound_in_their_canonical_form(key: str, name: str) -> None:
    assert bound_name("b", key) == name


def test_hchacha20_gives_the_vector_of_its_draft() -> None:
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    expected = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    assert hchacha20(bytes(range(32)), nonce).hex() == expected


@pytest.mark.parametrize("aead", ["AES-256-GCM-HMAC-SHA-256", "ChaCha20Poly1305"])
def test_data_keys_of_releases_from_2021_on_open(aead: str) -> None:
    iv, nonce, data_key, context = bytes(range(16)), bytes(12), bytes(range(32)), b'{"b":"b/o"}'
    if aead == "ChaCha20Poly1305":
        sealed = ChaCha20Poly1305(hchacha20(left.MASTER_KEY, iv)).encrypt(nonce, data_key, context)
    else:
        sealed = AESGCM(hmac.digest(left.MASTER_KEY, iv, "sha256")).encrypt(nonce, data_key, context)
    fields = {"aead": aead, **{n: encode(v) for n, v in (("iv", iv), ("nonce", nonce), ("bytes", sealed))}}
    wrapped = json.dumps(fields).encode()
    assert open_data_key(left.MASTER_KEY, "k", wrapped, [b"another", context]) == data_key
    with pytest.raises(DataKeyRefused):
        open_data_key(bytes(32), "k", wrapped, [context])


WRAPPED = {"aead": "ChaCha20Poly1305", "iv": "A" * 22 + "==", "nonce": "A" * 16, "bytes": "A" * 64}


@pytest.mark.parametrize(
    "wrapped", [b"", b"x" * 63, b"{", b"{}", b'{"aead":"x","iv":"","nonce":"","bytes":""}', b"[" * 9000, b"\x20" * 65]
)
def test_a_wrapped_data_key_that_minio_did_not_write_is_refused(wrapped: bytes) -> None:
    with pytest.raises(LegacyDamaged):
        open_data_key(left.MASTER_KEY, "k", wrapped, [b"{}"])


@pytest.mark.parametrize(
    "change",
    [{"aead": "AES-128-GCM"}, {"aead": ["x"]}, {"iv": ""}, {"iv": "A" * 24}, {"iv": "A" * 23}, {"nonce": "A" * 8},
     {"nonce": 1}, {"nonce": "?" * 16}, {"bytes": None}, {"bytes": "\ud800"}, {"bytes": "A" * 63}],
)  # fmt: skip
def test_a_wrapped_data_key_with_an_entry_that_minio_did_not_write_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataKeyRefused):
        open_data_key(left.MASTER_KEY, "k", json.dumps(WRAPPED).encode(), [b"{}"])
    with pytest.raises(LegacyDamaged):
        open_data_key(left.MASTER_KEY, "k", json.dumps(WRAPPED | change).encode(), [b"{}"])


def test_a_wrapped_data_key_of_brackets_without_end_is_refused() -> None:
    with pytest.raises(LegacyDamaged):
        open_data_key(left.MASTER_KEY, "k", b'{"a":' * 60_000, [b"{}"])


def test_a_data_key_or_an_object_key_of_another_length_is_refused() -> None:
    key, iv = bytes(range(32)), bytes(16)
    for length in (16, 31, 33):
        content = ChaCha20Poly1305(hchacha20(key, iv)).encrypt(bytes(12), bytes(length), b"{}")
        with pytest.raises(LegacyDamaged):
            open_data_key(
                key, "k", json.dumps(WRAPPED | {"iv": encode(iv), "bytes": encode(content)}).encode(), [b"{}"]
            )
        sealing = Sealing("SSE-C", bytes(32), b"")
        secret = hmac.digest(key, bytes(32) + b"SSE-C" + SEAL_ALGORITHM.encode() + b"b/o", "sha256")
        sealed = bytes(Sealer(secret, new_nonce()).seal(bytes(length), final=True))
        with pytest.raises(LegacyDamaged):
            open_object_key(key, replace(sealing, sealed_key=sealed), "b/o")


def test_etags_are_those_that_minio_showed() -> None:
    digest, key = hashlib.md5(b"body").digest(), bytes(32)
    sealed = bytes(Sealer(hmac.digest(key, b"SSE-etag", "sha256"), new_nonce()).seal(digest, final=True)).hex()
    for domain, shown in (("S3-", digest.hex()), ("", sealed[-32:])):
        legacy = read_document(document({**sealed_meta(domain), "etag": sealed}))
        assert etag_with_key(legacy, key) == shown
        assert etag_without_key(legacy) == (None if domain else shown)
    with pytest.raises(LegacyDamaged):
        etag_with_key(read_document(document({**sealed_meta("S3-"), "etag": sealed})), bytes(31) + b"x")
    assert read_document(document({})).etag == DEFAULT_ETAG


def test_tags_and_headers_of_later_releases_are_read() -> None:
    legacy = read_document(
        document({"X-Amz-Tagging": "a=b&c=d", "Cache-Control": "no-store", "X-Amz-Meta-N": "ü", "other": "x"})
    )
    assert legacy.tags == "a=b&c=d"
    assert legacy.headers == {"cache-control": "no-store", "x-amz-meta-n": "ü".encode().decode("latin-1")}


NOT_COVERED = [
    ({SSE + "Seal-Algorithm": "DARE-SHA256"}, "DARE 1.0"),
    ({SSE + "S3-Sealed-Key": base64.b64encode(b"\x10" + bytes(63)).decode()}, "DARE 1.0"),
    ({INTERNAL + "compression": "klauspost/compress/s2"}, "compressed"),
    ({SSE + "S3-Kms-Sealed-Key": None}, "without a KMS"),
]


@pytest.mark.parametrize(("change", "reason"), NOT_COVERED)
def test_what_is_not_covered_says_so_and_what_to_do(change: dict[str, str | None], reason: str) -> None:
    meta = {name: value for name, value in (sealed_meta("S3-") | change).items() if value is not None}
    with pytest.raises(NotCovered, match=rf"{reason}.*strongroom import"):
        read_document(document(meta))


def test_a_version_of_another_release_is_not_covered() -> None:
    with pytest.raises(NotCovered, match="strongroom import"):
        read_document(b'{"version":"2.0.0","meta":{}}')


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=9),
        st.sampled_from(["x", "AAAA", "2019-07-17T00:00:00Z", "0001-01-01T00:00:00+14:00", 2**63, 10_001, "\ud800"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
GOOD = {
    "version": "1.0.2",
    "format": "gw",
    "stat": {"size": 1, "modTime": "2019-07-17T00:00:00Z"},
    "parts": [{"number": 1, "size": 65_600}],
}


@given(st.sampled_from(["S3-", "", "Kms-"]), st.data())
def test_a_document_with_anything_in_any_place_is_refused_or_holds_what_one_may_hold(
    kind: str, data: st.DataObject
) -> None:
    meta = {
        **sealed_meta(kind),
        INTERNAL + "Encrypted-Multipart": "",
        SSE + "Context": encode(b"{}"),
        "X-Amz-Meta-A": "b",
    }
    fields: dict[str, Any] = copy.deepcopy(GOOD | {"meta": meta})
    assert read_document(json.dumps(fields).encode()).sealing is not None
    places = [fields, fields["stat"], fields["parts"][0], fields["meta"]]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(VALUES)
    try:
        found = read_document(json.dumps(fields).encode())
    except (LegacyDamaged, NotCovered):
        return
    assert found.stored is None or found.stored >= 0
    assert all(1 <= part.number <= 10_000 and part.stored >= 0 for part in found.parts or ())
    for text in [found.etag, *found.headers, *found.headers.values()]:
        assert not set(text.encode("latin-1")) & {*range(32), 127}  # it can be sent


DAMAGED = [
    b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"version":"1.0.2","meta":[1]}',
    b'{"version":"1.0.2","meta":{"content-type":"a\\r\\nb: c"}}',
    b'{"version":"1.0.2","meta":{"X-Amz-Meta-a b":"x"}}',
    b'{"version":"1.0.2","meta":{"etag":1}}',
    b'{"version":"1.0.2","format":"gw","stat":{"size":-1,"modTime":"2019-07-17T00:00:00Z"}}',
    b'{"version":"1.0.2","format":"gw","stat":{"size":1,"modTime":"yesterday"}}',
    b'{"version":"1.0.2","meta":{},"parts":[{"number":0,"size":1}]}',
    b'{"version":"1.0.2","meta":{},"parts":[{"number":1,"size":-1}]}',
    b'{"version":"1.0.2","meta":{},"parts":[{"number":1,"size":281474976710656}]}',
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_document_is_refused(text: bytes) -> None:
    with pytest.raises(LegacyDamaged):
        read_document(text)


@pytest.mark.parametrize("name", ["Iv", "S3-Kms-Key-Id", "S3-Sealed-Key"])
def test_a_document_that_lost_an_entry_is_damaged(name: str) -> None:
    meta = sealed_meta("S3-")
    del meta[SSE + name]
    with pytest.raises(LegacyDamaged):
        read_document(document(meta))


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document(meta: dict[str, Any]) -> bytes:
    return json.dumps({"version": "1.0.2", "meta": meta}).encode()


def sealed_meta(domain: str) -> dict[str, str]:
    """The metadata of an encrypted object: SSE-S3 ("S3-"), or SSE-C ("")."""
    meta = {
        "Iv": encode(bytes(32)),
        "Seal-Algorithm": "DAREv2-HMAC-SHA256",
        f"{domain}Sealed-Key": encode(b"\x20" + bytes(63)),
    }
    if domain:
        meta |= {"S3-Kms-Key-Id": "k", "S3-Kms-Sealed-Key": encode(b"\x20" * 64)}
    return {SSE + name: value for name, value in meta.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"Iv": "A" * 40}, {"Iv": "A" * 44}, {"Sealed-Key": "A" * 88},
        {"S3-Kms-Key-Id": "k" * 256}, {"S3-Sealed-Key": "?"},
        {"S3-Kms-Sealed-Key": base64.b64encode(bytes(65_536)).decode()},
    ],
)  # fmt: skip
def test_what_says_how_a_key_is_sealed_and_no_record_of_ours_could_keep_is_damage(change: dict[str, str]) -> None:
    read_document(document(sealed_meta("S3-")))
    with pytest.raises(LegacyDamaged):
        read_document(document(sealed_meta("S3-") | {SSE + name: value for name, value in change.items()}))


@pytest.mark.parametrize(
    "fields",
    [
        {"meta": {"content-type": "a\x7fb"}}, {"meta": {"content-type": "a\x1fb"}}, {"meta": {"etag": "\0"}},
        {"parts": [{"number": 10_001, "size": 1}]}, {"parts": [{"number": 1, "size": 1}] * 10_001},
        {"parts": [{"number": 1, "size": 1.5}]}, {"padding": " " * 4 * 1024**2},
        {"format": "gw", "stat": {"size": "1", "modTime": "2019-07-17T00:00:00Z"}},
        {"format": "gw", "stat": {"size": 1, "modTime": "2019-07-17T00:00:00"}},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_a_document_that_says_what_no_object_can_have_is_damaged(fields: dict[str, Any]) -> None:
    with pytest.raises(LegacyDamaged):
        read_document(json.dumps({"version": "1.0.2", "meta": {}} | fields).encode())


def test_an_encrypted_object_whose_bytes_were_taken_away_is_damaged_and_not_empty() -> None:
    def found(size: int, stored: int) -> Inherited | None:
        stat = {"size": size, "modTime": "2019-07-17T00:00:00Z"}
        fields = {"version": "1.0.0", "format": "gw", "etag": "e", "meta": sealed_meta("S3-"), "stat": stat}
        return inherited("b", Stored("o", stored, 0, {LEFT: json.dumps(fields).encode()}, "x"))

    assert [legacy and legacy.size for legacy in (found(0, 0), found(33, 33))] == [0, 1]
    for size, stored in ((33, 0), (33, 32), (33, 65_568 + 7)):
        with pytest.raises(Damaged, match="left by MinIO"):
            found(size, stored)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_no_listing_could_show_is_damage(moment: str) -> None:
    fields = {"version": "1.0.0", "format": "gw", "etag": "e", "meta": {}, "stat": {"size": 1, "modTime": moment}}
    with pytest.raises(LegacyDamaged):
        read_document(json.dumps(fields).encode())
