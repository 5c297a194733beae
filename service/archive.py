"""A first look at an upload: is it a zip, does it hold a picture, does it unpack to a sane size?

The directory of the archive is read as a stream, one entry at a time: `zipfile` builds an object of some
600 bytes for each, which a directory of 2 GiB would turn into 30 GB. Format: PKWARE's APPNOTE, 4.3 and 4.5.
"""

import bz2
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contract.errors import ErrorCode, ServiceError

MAX_ENTRIES = 2_000_000
MAX_UNPACKED_BYTES = 64 * 2**30
_HEAD_BYTES = 16
_READ_BYTES = 4096
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_END, _END64, _END64_LOCATOR = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_END_BYTES, _LOCATOR_BYTES, _ENTRY_BYTES, _LOCAL_BYTES = 22, 20, 46, 30
_IN_ZIP64 = 0xFFFFFFFF
_ENCRYPTED = 1

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


class _NotAZipError(Exception):
    pass


@dataclass(frozen=True)
class _Entry:
    name: str
    method: int
    is_encrypted: bool
    unpacked_bytes: int
    offset: int  # of its local header


def inspect(path: Path) -> None:
    """Look through the archive; the pictures themselves are the preparer's to judge.

    Raises:
        ServiceError: `not_a_zip`, `archive_too_large` or `no_images`.
    """
    with path.open("rb") as file:
        try:
            has_image = _look_through(file)
        except (_NotAZipError, struct.error) as error:
            detail = (
                f"The upload is not a readable zip archive ({error}); zip a folder of images and send that."
            )
            raise ServiceError(ErrorCode.NOT_A_ZIP, detail) from None
    if not has_image:
        raise ServiceError(
            ErrorCode.NO_IMAGES,
            "The archive holds no image; put PNG, JPEG, WebP, GIF, BMP or TIFF files into it, not encrypted.",
        )


def _look_through(file: BinaryIO) -> bool:
    unpacked_bytes = 0
    has_image = False
    for entries, entry in enumerate(_entries(file), start=1):
        unpacked_bytes += entry.unpacked_bytes
        _refuse_too_much(entries, unpacked_bytes)
        has_image = has_image or (_is_candidate(entry) and _is_image(_head(file, entry)))
    return has_image


def _refuse_too_much(entries: int, unpacked_bytes: int) -> None:
    if entries > MAX_ENTRIES:
        detail = f"The archive has more than {MAX_ENTRIES:,} entries; split it."
        raise ServiceError(ErrorCode.ARCHIVE_TOO_LARGE, detail)
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        limit = MAX_UNPACKED_BYTES // 2**30
        detail = f"The archive unpacks to more than {limit} GiB; split it, or store smaller images."
        raise ServiceError(ErrorCode.ARCHIVE_TOO_LARGE, detail)


def _is_candidate(entry: _Entry) -> bool:
    parts = entry.name.split("/")
    is_file = bool(parts[-1]) and not entry.is_encrypted
    return is_file and not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _is_image(head: bytes) -> bool:
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_netpbm = head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()
    return head.startswith(_MAGIC) or is_webp or is_netpbm


def _entries(file: BinaryIO) -> Iterator[_Entry]:
    position, end, shift = _directory(file)
    while position < end:
        file.seek(position)
        fixed = file.read(_ENTRY_BYTES)
        if fixed[:4] != b"PK\1\2":
            raise _NotAZipError("its directory is damaged")
        flags, method = struct.unpack_from("<HH", fixed, 8)
        unpacked, name_length, extra_length, comment_length = struct.unpack_from("<LHHH", fixed, 24)
        (offset,) = struct.unpack_from("<L", fixed, 42)
        name = file.read(name_length).decode("cp437")
        unpacked, offset = _widen(unpacked, offset, fixed, file.read(extra_length))
        yield _Entry(name, method, bool(flags & _ENCRYPTED), unpacked, offset + shift)
        position += _ENTRY_BYTES + name_length + extra_length + comment_length


def _widen(unpacked: int, offset: int, fixed: bytes, extra: bytes) -> tuple[int, int]:
    """Sizes past 4 GiB stand in the extra field, those that overflowed only, in this order."""
    (packed,) = struct.unpack_from("<L", fixed, 20)
    narrow = (unpacked, packed, offset)
    wide_values = sum(value == _IN_ZIP64 for value in narrow)
    while wide_values and len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{wide_values}Q", extra, 4))
            unpacked, _, offset = (next(wide) if value == _IN_ZIP64 else value for value in narrow)
            break
        extra = extra[4 + length :]
    return unpacked, offset


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Where the directory begins and ends, and by how much something before the zip shifts its offsets."""
    file_bytes = file.seek(0, 2)
    tail_at = max(0, file_bytes - 0xFFFF - _END_BYTES)
    file.seek(tail_at)
    tail = file.read()
    found = tail.rfind(_END)
    if found < 0 or len(tail) - found < _END_BYTES:
        raise _NotAZipError("it has no end-of-directory record")
    size, offset = struct.unpack_from("<LL", tail, found + 12)
    end = tail_at + found
    file.seek(max(0, end - _LOCATOR_BYTES))
    locator = file.read(_LOCATOR_BYTES)
    if locator[:4] == _END64_LOCATOR:
        size, offset, end = _directory64(file, locator, file_bytes)
    start = end - size
    if start < 0:
        raise _NotAZipError("its directory is cut off")
    return start, end, start - offset


def _directory64(file: BinaryIO, locator: bytes, file_bytes: int) -> tuple[int, int, int]:
    (end,) = struct.unpack_from("<Q", locator, 8)
    if end >= file_bytes:
        raise _NotAZipError("its directory lies nowhere")
    file.seek(end)
    record = file.read(56)
    if record[:4] != _END64:
        raise _NotAZipError("its zip64 record is damaged")
    size, offset = struct.unpack_from("<QQ", record, 40)
    return size, offset, end


def _head(file: BinaryIO, entry: _Entry) -> bytes:
    """The first bytes of a file in the archive; none when they cannot be read."""
    if not 0 <= entry.offset < os.fstat(file.fileno()).st_size:
        return b""
    file.seek(entry.offset)
    local = file.read(_LOCAL_BYTES)
    if len(local) < _LOCAL_BYTES or local[:4] != b"PK\3\4":
        return b""
    file.seek(sum(struct.unpack_from("<HH", local, 26)), 1)
    packed = file.read(_READ_BYTES)
    try:
        return _unpack(packed, entry.method)
    except (zlib.error, OSError, ValueError):
        return b""


def _unpack(packed: bytes, method: int) -> bytes:
    if method == _STORED:
        return packed[:_HEAD_BYTES]
    if method == _DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, _HEAD_BYTES)
    if method == _BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, _HEAD_BYTES)
    return b""
