"""An independent reader of Strongroom's format, written from docs/format.md alone. Shares no code with the product."""

import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "sha256")


def short(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end], end


def parse_header(data: bytes) -> dict[str, object]:
    assert data[:4] == b"SRE1"
    kind, flags, size = struct.unpack(">BBQ", data[4:14])
    provider, at = short(data, 94)
    key_id, at = short(data, at)
    length = int.from_bytes(data[at : at + 2], "big")
    etag, end = short(data, at + 2 + length)
    assert end == len(data) or kind == 3
    return {
        "kind": kind, "multipart": bool(flags & 1), "bucket_key": flags & 2, "size": size, "iv": data[14:46], "sealed_key": data[46:94],
        "provider": provider.decode(), "key_id": key_id.decode(), "wrapped": data[at + 2 : at + 2 + length],
        "etag": etag.decode(), "context": json.loads(data[end:] or b"{}"),
    }  # fmt: skip


def static_data_key(master: bytes, header: dict[str, object], bucket: str, key: str) -> bytes:
    key_id, wrapped, added = header["key_id"], header["wrapped"], header["context"]
    assert isinstance(wrapped, bytes) and isinstance(key_id, str) and isinstance(added, dict)
    name, entries = key_id.encode(), {**added, bucket: bucket if header["bucket_key"] else f"{bucket}/{key}"}
    context = json.dumps(entries, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()
    wrapping = mac(master, len(name).to_bytes(2, "big"), name, context)
    return AESGCM(wrapping).decrypt(wrapped[:12], wrapped[12:], None)


def object_key(external: bytes, header: dict[str, object], bucket: str, key: str) -> bytes:
    iv, sealed, kind = header["iv"], header["sealed_key"], header["kind"]
    assert isinstance(iv, bytes) and isinstance(sealed, bytes) and isinstance(kind, int)
    sealing = mac(external, b"strongroom v1 seal\0", bytes([kind]), iv, f"{bucket}/{key}".encode())
    return AESGCM(sealing).decrypt(bytes(12), sealed, None)


def open_box(object_key: bytes, purpose: bytes, header: bytes, box: bytes) -> bytes:
    record_key = mac(object_key, b"strongroom v1 record")
    return AESGCM(record_key).decrypt(box[:12], box[12:], b"strongroom v1 " + purpose + b"\0" + header)


def part_table(table: bytes) -> list[tuple[int, int, bytes, bytes, bytes]]:
    width, count = struct.unpack(">BI", table[:5])
    rows = list(struct.iter_unpack(f">HQ12s16s{width}s", table[5:]))
    assert len(rows) == count
    return rows


def open_stream(key: bytes, stream: bytes, size: int, nonce: bytes | None = None) -> bytes:
    out, at, sequence = b"", 0, 0
    while len(out) < size:
        version, cipher, less_one = struct.unpack("<BBH", stream[at : at + 4])
        shown, end = stream[at + 4 : at + 16], at + 32 + less_one + 1
        last = len(out) + less_one + 1 == size
        base = bytes([shown[0] & 0x7F]) + shown[1:]
        nonce = nonce or base
        assert (version, cipher, base, shown[0] >> 7) == (0x20, 0, nonce, int(last)) and (last or less_one == 65535)
        counter = int.from_bytes(shown[8:], "little") ^ sequence
        used = shown[:8] + counter.to_bytes(4, "little")
        out += AESGCM(key).decrypt(used, stream[at + 16 : end], stream[at : at + 4])
        at, sequence = end, sequence + 1
    assert at == len(stream)
    return out


def read(record: dict[str, bytes], annex: bytes, stored: bytes, bucket: str, key: str, external: bytes) -> tuple[bytes, dict[str, str]]:  # fmt: skip
    """Plaintext and metadata of an object; ``external`` is the master key, or the client's key (SSE-C)."""
    header = parse_header(record[":sse"])
    if header["kind"] in (1, 3):
        assert header["provider"] == "static"
        external = static_data_key(external, header, bucket, key)
    secret = object_key(external, header, bucket, key)
    metadata = json.loads(open_box(secret, b"metadata", record[":sse"], record[":sealed"]))
    size = header["size"]
    assert isinstance(size, int)
    if not header["multipart"]:
        return open_stream(secret, stored, size), metadata
    out, at = b"", 0
    for number, length, nonce, _, _ in part_table(open_box(secret, b"parts", record[":sse"], annex)):
        end = at + length + -(-length // 65536) * 32
        out += open_stream(mac(secret, number.to_bytes(4, "little")), stored[at:end], length, nonce)
        at = end
    assert (len(out), at) == (size, len(stored))
    return out, metadata


def listed_etag(setting: bytes, record: dict[str, bytes], bucket: str, key: str, master: bytes) -> str:
    header, entry = parse_header(setting), record[":listed"]
    secret = mac(object_key(static_data_key(master, header, bucket, ""), header, bucket, ""), b"strongroom v1 record")
    bound = b"strongroom v1 listed\0" + f"{bucket}/{key}".encode() + b"\0" + record[":sse"]
    return AESGCM(secret).decrypt(entry[:12], entry[12:], bound).decode()
