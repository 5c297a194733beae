"""Serves files from the volume: hashed once, then sent whole or in part."""

import hashlib
import os
import re
from collections import OrderedDict
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from contract.errors import ErrorCode, ServiceError
from service.on_volume import OnVolume
from service.problems import problem_response

_KNOWN_FILES = 4096
_RANGE = re.compile(r"([0-9]{0,1000})-([0-9]{0,1000})")


class StoredFile(NamedTuple):
    """An open file, its digest and its status: of the same content, even if another gets its path."""

    content: BufferedReader
    digest: str
    """`sha256:…` of its content."""
    status: os.stat_result


class Digests:
    """Caches the SHA-256 of files, recomputed when a file has changed."""

    def __init__(self, on_volume: OnVolume) -> None:
        self._on_volume = on_volume
        self._known: OrderedDict[Path, tuple[tuple[int, int, int], str]] = OrderedDict()

    async def open(self, path: Path) -> StoredFile:
        """Open the file, with the digest of its content. The caller closes it.

        Raises:
            OSError: it does not exist, or cannot be read.
        """
        return await self._on_volume(self._open, path)

    def _open(self, path: Path) -> StoredFile:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            status = os.fstat(file.fileno())
            digest = self._digest(path, file, status)
            stack.pop_all()
        return StoredFile(file, digest, status)

    def _digest(self, path: Path, file: BufferedReader, status: os.stat_result) -> str:
        version = status.st_ino, status.st_mtime_ns, status.st_size
        known = self._known.get(path)
        if known is not None and known[0] == version:
            return known[1]
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        file.seek(0)
        self._known[path] = version, digest
        while len(self._known) > _KNOWN_FILES:
            self._known.popitem(last=False)
        return digest


class _OpenFileResponse(FileResponse):
    """Sends an open file, then closes it. It is opened once more, by its descriptor instead of its path."""

    def __init__(self, file: StoredFile, name: str, headers: dict[str, str]) -> None:
        super().__init__(
            f"/dev/fd/{file.content.fileno()}",
            filename=name,
            media_type="application/octet-stream",
            headers=headers,
            stat_result=file.status,
        )
        del self.headers["last-modified"]  # a name may move back to an older file, or one of the same second
        self._content = file.content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._content:
            await super().__call__(scope, receive, send)


def send(request: Request, file: StoredFile, name: str, headers: dict[str, str]) -> Response:
    """Send the file, or the ranges that are requested of it, and close it. An invalid Range is ignored.

    `headers` must contain its `ETag`, which is all that If-Range can name.
    """
    if (asked := request.headers.get("range")) is not None:
        size = file.status.st_size
        is_same = request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
        ranges = _ranges(asked, size) if request.method == "GET" and is_same else None
        if ranges == []:
            file.content.close()
            return _without(request, asked, size)
        kept = [(b"range", f"bytes={','.join(ranges)}".encode())] if ranges else []
        others = [one for one in request.scope["headers"] if one[0] not in (b"range", b"if-range")]
        request.scope["headers"] = [*others, *kept]
    return _OpenFileResponse(file, name, headers)


def _without(request: Request, asked: str, size: int) -> Response:
    detail = (
        f"Range is {asked[:100]!r}, but the file has only {size:,} bytes; ask for a range within it, or omit "
        "Range."
    )
    response = problem_response(ServiceError(ErrorCode.RANGE_NOT_SATISFIABLE, detail), request)
    response.headers["Content-Range"] = f"bytes */{size}"
    return response


def _ranges(asked: str, size: int) -> list[str] | None:
    """The requested ranges, clipped to a file of this size; None if they are invalid (RFC 9110, 14)."""
    unit, _, listed = asked.partition("=")
    found = [_RANGE.fullmatch(one.strip()) for one in listed.split(",")]
    if unit.strip().lower() != "bytes" or not all(found):
        return None
    kept = []
    for first, last in (one.groups() for one in found if one):
        if not (first or last) or (first and last and int(first) > int(last)):
            return None
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if start <= end:
            kept.append(f"{start}-{end}")
    return kept
