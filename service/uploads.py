"""Streams an archive of images to the volume, from a raw body or a form, and limits its size."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from contract.dataset import MAX_NAME_CHARACTERS
from contract.errors import ErrorCode, ServiceError
from service.body_length import declared_length
from service.gateway import Gateway
from service.receiving import bounded, kept, wrong_type
from service.refusals import parameter_error

RAW_TYPES = ("application/zip", "application/octet-stream", "application/x-zip-compressed")
FORM_TYPE = "multipart/form-data"
_FRAMING_BYTES = 64 * 1024  # the most that a form may add to its file
_MAX_NAME_BYTES = 4 * MAX_NAME_CHARACTERS  # in UTF-8


class _Body(Protocol):
    """Extracts the bytes of the file from those of a body."""

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> str | None:
        """Return the name that was sent with the file, if any."""


@dataclass(frozen=True)
class Upload:
    """An archive on the volume, fsynced, in a staging directory."""

    path: Path
    bytes: int
    name: str | None


@asynccontextmanager
async def receive(request: Request, gateway: Gateway, max_bytes: int) -> AsyncIterator[Upload]:
    """Receive the upload into a file, which is removed when the block ends, unless it was renamed.

    Raises:
        ServiceError: the body has the wrong type, is empty, too large, or a broken form.
    """
    body = _body(request)
    if declared_length(request) > max_bytes + _FRAMING_BYTES * isinstance(body, _Form):
        raise _too_large(max_bytes)
    path = gateway.volume.incoming_uploads / f"{uuid.uuid4().hex}.zip"
    contents = bounded(_contents(request, body, max_bytes), max_bytes, _too_large(max_bytes))
    async with kept(gateway.on_volume, contents, path) as size:
        name = body.finish()
        if not size:
            raise ServiceError(ErrorCode.BODY_EMPTY, "The upload has 0 bytes; send a zip archive of images.")
        yield Upload(path, size, name)


async def _contents(request: Request, body: _Body, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the bytes of the file as they arrive."""
    too_large = _too_large(max_bytes)
    async for chunk in bounded(request.stream(), max_bytes + _FRAMING_BYTES, too_large):
        yield body.feed(chunk)


def _too_large(max_bytes: int) -> ServiceError:
    return ServiceError(
        ErrorCode.BODY_TOO_LARGE,
        f"The upload is larger than the {max_bytes:,} bytes allowed; split it, store smaller images, "
        "or raise DCGAN_MAX_UPLOAD_BYTES.",
    )


def _body(request: Request) -> _Body:
    sent = request.headers.get("content-type", RAW_TYPES[0])
    media_type, options = parse_options_header(sent)
    if media_type.decode("latin-1") in RAW_TYPES:
        return _Raw()
    if media_type.decode("latin-1") != FORM_TYPE:
        raise wrong_type(sent, f"{RAW_TYPES[0]}, {RAW_TYPES[1]} or {FORM_TYPE}")
    if not options.get(b"boundary"):
        raise ServiceError(ErrorCode.INVALID_REQUEST, "The form's Content-Type names no boundary; add it.")
    return _Form(options[b"boundary"])


class _Raw:
    """The body is the file."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> str | None:
        return None


class _Form:
    """A form with a part `file` and optionally a part `name`, parsed as a stream without spooling."""

    def __init__(self, boundary: bytes) -> None:
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_part,
                    "on_part_data": self._on_part_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _broken_form(error) from None
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._seen: dict[bytes, bytearray] = {}
        self._part = bytearray()
        self._is_complete = False

    def feed(self, chunk: bytes) -> bytes:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken_form(error) from None
        content = bytes(self._seen.get(b"file", b""))
        self._seen.get(b"file", bytearray()).clear()
        if len(self._seen.get(b"name", b"")) > _MAX_NAME_BYTES:
            detail = f"name is too long; use {MAX_NAME_CHARACTERS} characters at most."
            raise parameter_error("name", detail)
        return content

    def finish(self) -> str | None:
        if b"file" not in self._seen:
            raise parameter_error("file", "The form has no part named file; send the zip archive as that.")
        if not self._is_complete:
            raise _broken_form("it ends before its last boundary")
        return self._seen.get(b"name", bytearray()).decode(errors="replace") or None

    def _begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin_part(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"")
        shown = name.decode(errors="replace")[:100]
        if name not in (b"file", b"name"):
            raise parameter_error(shown, f"The form has a part {shown!r}; only file and name are known.")
        if name in self._seen:
            raise parameter_error(shown, f"The form has two parts named {shown}; send one.")
        self._part = self._seen[name] = bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part += data[start:end]

    def _end(self) -> None:
        self._is_complete = True


def _broken_form(reason: object) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_REQUEST, f"The form cannot be read: {reason}; send it again.")
