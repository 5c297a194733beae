"""A first look at an upload: is it a zip, does it hold a picture, does it unpack to a sane size?

Streams the archive's directory one entry at a time, because `zipfile` builds an object of about 600 bytes
for each: 30 GB for a directory of 2 GiB. Format: PKWARE's APPNOTE, 4.3 and 4.5.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contract.dataset import is_wanted
from contract.errors import ErrorCode, ServiceError
from contract.pictures import HEAD_BYTES, READABLE, begins_like_picture

MAX_ENTRIES = 2_000_000
MAX_UNPACKED_BYTES = 64 * 2**30
MAX_FILES_LOOKED_INTO = 10_000
_READ_BYTES = 4096
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14
_END, _END64, _END64_LOCATOR = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_END_BYTES, _LOCATOR_BYTES, _ENTRY_BYTES, _LOCAL_BYTES = 22, 20, 46, 30
_IN_ZIP64 = 0xFFFFFFFF
_ENCRYPTED = 1
_MOST_EXTRA_FIELDS = 64


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
    """Check the archive's structure and size; the preparer judges the images themselves.

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
            f"The archive holds no image that can be read here; put {READABLE} files into it (not HEIC, nor "
            "archives within the archive), not encrypted.",
        )


def _look_through(file: BinaryIO) -> bool:
    """Whether it may hold an image; after `MAX_FILES_LOOKED_INTO` without one, the preparer decides."""
    unpacked_bytes = looked_into = 0
    has_image = False
    for entries, entry in enumerate(_entries(file), start=1):
        unpacked_bytes += entry.unpacked_bytes
        _refuse_too_much(entries, unpacked_bytes)
        if not has_image and _is_candidate(entry):
            looked_into += 1
            has_image = looked_into > MAX_FILES_LOOKED_INTO or _may_be_image(file, entry)
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
    return is_wanted(entry.name) and not entry.is_encrypted


def _may_be_image(file: BinaryIO, entry: _Entry) -> bool:
    """Judge by its first bytes; unpacking bzip2 or LZMA takes a block or dictionary of many kilobytes."""
    packed = _packed(file, entry)
    if entry.method == _BZIP2:
        return packed.startswith(b"BZh")
    if entry.method == _LZMA:
        return bool(packed)
    return begins_like_picture(_unpack(packed, entry.method))


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
    """Read values past 4 GiB from the extra field, which holds only those that overflowed, in this order."""
    (packed,) = struct.unpack_from("<L", fixed, 20)
    narrow = (unpacked, packed, offset)
    wide_values = sum(value == _IN_ZIP64 for value in narrow)
    for kind, at in _fields(extra) if wide_values else ():
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{wide_values}Q", extra, at))
            unpacked, _, offset = (next(wide) if value == _IN_ZIP64 else value for value in narrow)
            break
    return unpacked, offset


def _fields(extra: bytes) -> Iterator[tuple[int, int]]:
    """Yield the kind of each of the first extra fields, and the position of its value."""
    position = 0
    for _ in range(_MOST_EXTRA_FIELDS):
        if len(extra) < position + 4:
            break
        kind, length = struct.unpack_from("<HH", extra, position)
        yield kind, position + 4
        position += 4 + length


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Return the directory's start and end, and the shift of all offsets by data before the zip."""
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


def _packed(file: BinaryIO, entry: _Entry) -> bytes:
    """The first bytes of an entry, still packed; empty if they cannot be read."""
    if not 0 <= entry.offset < os.fstat(file.fileno()).st_size:
        return b""
    file.seek(entry.offset)
    local = file.read(_LOCAL_BYTES)
    if len(local) < _LOCAL_BYTES or local[:4] != b"PK\3\4":
        return b""
    file.seek(sum(struct.unpack_from("<HH", local, 26)), 1)
    return file.read(_READ_BYTES)


def _unpack(packed: bytes, method: int) -> bytes:
    if method == _STORED:
        return packed[:HEAD_BYTES]
    if method == _DEFLATED:
        with suppress(zlib.error):
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, HEAD_BYTES)
    return b""
