"""An independent reader of the files of a shared folder, written from docs/format.md alone. Shares no product code."""

import hashlib
import struct

MARK = b"\x89SRNAS1\n"


def entries(data: bytes) -> dict[str, bytes]:
    """Names and values of a mapping."""
    found, at = {}, 0
    while at < len(data):
        name_length, length = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
        name_end = at + 5 + name_length
        found[data[at + 5 : name_end].decode("ascii")] = data[name_end : name_end + length]
        at = name_end + length
    assert at == len(data)
    return found


def read_file(file: bytes, part: bool = False) -> tuple[dict[str, bytes], bytes, bytes, bytes, int]:
    """Record, annex, stored bytes, identity and time of an encrypted object's file, or of a part's."""
    assert part or file.startswith(MARK)
    assert file.endswith(MARK)
    tail = file[-64:]
    identity = tail[:16]
    modified, table_length, annex_length, record_length = struct.unpack(">qIII", tail[16:36])
    record_at = len(file) - 64 - record_length
    table_at = record_at - table_length
    assert tail[36:56] == hashlib.sha256(file[table_at:record_at] + file[record_at : len(file) - 28]).digest()[:20]
    stored = b"".join(file[at : at + length] for at, length in struct.iter_unpack(">QQ", file[table_at:record_at]))
    annex = file[table_at - annex_length : table_at]
    return entries(file[record_at : record_at + record_length]), annex, stored, identity, modified


def read_beside(value: bytes) -> tuple[str, tuple[int, int, int], dict[str, bytes], bytes]:
    """Name; size, time and inode of the file; record; annex: from an attribute or a sidecar."""
    assert value[:4] == b"SRP1"
    size, changed, inode, name_length, record_length = struct.unpack(">QqQHI", value[21:51])
    name_end = 51 + name_length
    record_end = name_end + record_length
    return value[51:name_end].decode(), (size, changed, inode), entries(value[name_end:record_end]), value[record_end:]
