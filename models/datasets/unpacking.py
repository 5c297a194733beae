"""The files of an archive, of which hardly more is unpacked than is read."""

import bz2
import contextlib
import copy
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Protocol

MAX_FILE_BYTES = 64 * 1024 * 1024
_PACKED_IN_BLOCKS = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Unpacked(Protocol):
    """The content of a file."""

    def read(self, size: int, /) -> bytes: ...


@contextlib.contextmanager
def unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[Unpacked]:
    """Open a file of an archive. Whatever it claims, a read takes memory for what it asks for, not for more.

    Of bzip2 and LZMA, zipfile unpacks all that it has read, at least 4 KiB, before it cuts the content to its
    claimed size: of zeros these are gigabytes.
    """
    if entry.compress_type not in _PACKED_IN_BLOCKS:
        with archive.open(entry) as file:
            yield file
        return
    with archive.open(_as_it_is(entry)) as packed:
        stream = bz2.BZ2File(packed) if entry.compress_type == zipfile.ZIP_BZIP2 else _lzma_stream(packed)
        yield _Checked(stream, entry)


def content_of(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a file that is not larger than `MAX_FILE_BYTES`."""
    with unpacked(archive, archive.getinfo(name)) as file:
        return file.read(MAX_FILE_BYTES)


class _Checked:
    """The content of an entry up to its claimed size, checked at its end, as zipfile does it."""

    def __init__(self, stream: Unpacked, entry: zipfile.ZipInfo) -> None:
        self._stream = stream
        self._entry = entry
        self._left_bytes = entry.file_size
        self._crc = 0

    def read(self, size: int, /) -> bytes:
        read = self._stream.read(min(size, self._left_bytes))
        self._crc = zlib.crc32(read, self._crc)
        self._left_bytes -= len(read)
        has_ended = len(read) < size or not self._left_bytes
        if has_ended and self._crc != self._entry.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._entry.filename!r}")
        return read


def _as_it_is(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The same entry, to be read without unpacking it."""
    stored = copy.copy(entry)
    stored.compress_type = zipfile.ZIP_STORED
    stored.file_size = entry.compress_size
    del stored.CRC  # that of the content; zipfile checks none then
    return stored


def _lzma_stream(packed: IO[bytes]) -> lzma.LZMAFile:
    """Unpack LZMA as zips have it: without a header of its own (APPNOTE 5.8.8)."""
    beginning = packed.read(4)
    properties = packed.read(struct.unpack_from("<H", beginning, 2)[0]) if len(beginning) == 4 else b""
    if len(properties) < 5:
        raise zipfile.BadZipFile("its LZMA properties are cut off")
    packed_bits, dictionary_bytes = struct.unpack_from("<BL", properties)
    form = {
        "id": lzma.FILTER_LZMA1,
        "lc": packed_bits % 9,
        "lp": packed_bits // 9 % 5,
        "pb": packed_bits // 45,
        "dict_size": min(dictionary_bytes, MAX_FILE_BYTES),  # a claim of 4 GiB is no reason to allocate them
    }
    return lzma.LZMAFile(packed, format=lzma.FORMAT_RAW, filters=[form])
