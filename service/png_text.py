"""Reads the texts of a PNG while it is received, skipping the picture (PNG, third edition, 5 and 11.3.3).

The input is untrusted: texts are bounded in bytes, chunks in number, and nothing is decompressed.
"""

import struct
import zlib
from collections.abc import AsyncIterator

from contract.errors import ErrorCode, ServiceError

MAX_TEXT_BYTES = 2**20
MAX_CHUNKS = 2**16
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = b"IHDR"
_LAST = b"IEND"
_READ = (_HEADER, b"tEXt", b"iTXt")


async def read_texts(pieces: AsyncIterator[bytes]) -> dict[str, str]:
    """Return the uncompressed texts of a PNG by keyword; of a repeated keyword, the first.

    Raises:
        ServiceError: `not_a_png`.
    """
    source = _Source(pieces)
    if await source.take(len(_SIGNATURE)) != _SIGNATURE:
        raise _not_readable("it does not start with the PNG signature")
    texts: dict[str, str] = {}
    room = MAX_TEXT_BYTES
    for number in range(MAX_CHUNKS):
        length, kind = struct.unpack(">I4s", await source.take(8))
        if (kind == _HEADER) is not (number == 0):
            raise _not_readable("its first chunk, and no other, must be IHDR")
        if kind not in _READ:
            await source.skip(length + 4)
        elif (room := room - length) < 0:
            raise _not_readable(f"it has more than {MAX_TEXT_BYTES:,} bytes of text")
        else:
            content, check = await source.take(length), await source.take(4)
            if zlib.crc32(kind + content) != int.from_bytes(check):
                raise _not_readable(f"the checksum of a chunk of type {kind.decode()} is wrong")
            _add(texts, kind, content)
        if kind == _LAST:
            return texts
    raise _not_readable(f"it has more than {MAX_CHUNKS:,} chunks")


def _add(texts: dict[str, str], kind: bytes, content: bytes) -> None:
    """Add a chunk's text, if it is a well-formed text chunk and not compressed."""
    keyword, separator, text = content.partition(b"\0")
    encoding = "latin-1"
    if kind == b"iTXt":
        is_compressed, _method, text = text[:1] != b"\0", text[1:2], text[2:]
        _language, _, text = text.partition(b"\0")
        _translation, separator, text = text.partition(b"\0")
        separator = b"" if is_compressed else separator
        encoding = "utf-8"
    if separator and kind != _HEADER:
        texts.setdefault(keyword.decode("latin-1"), text.decode(encoding, "replace"))


class _Source:
    """Reads exact numbers of bytes from a stream."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    async def take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._held += await self._next()
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    async def skip(self, count: int) -> None:
        while len(self._held) < count:
            count -= len(self._held)
            self._held[:] = await self._next()
        del self._held[:count]

    async def _next(self) -> bytes:
        async for piece in self._pieces:
            return piece
        raise _not_readable("it ends before its last chunk, or is something else")


def _not_readable(reason: str) -> ServiceError:
    return ServiceError(ErrorCode.NOT_A_PNG, f"The body is not a readable PNG: {reason}.")
