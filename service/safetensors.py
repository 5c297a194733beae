"""A first check of an uploaded safetensors file: is it complete, ours, and of a sane size?

Reads only the header; a trainer checks the tensors. Format: eight bytes of length, a JSON object with the
dtype, shape and offsets of every tensor, then their bytes, without gaps.
"""

import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contract.checkpoint import HEADER_KEY, CheckpointHeader
from contract.errors import ErrorCode, ServiceError

MAX_HEADER_BYTES = 256 * 1024
_LENGTH_BYTES = 8
_FLOAT_BYTES = 4
_MOST_DIMENSIONS = 8
_ZIP = b"PK\3\4"
_PICKLES = (
    _ZIP,
    b"\x80\2",
    b"\x80\3",
    b"\x80\4",
    b"\x80\5",
)  # torch.save writes a zip with a pickle, or a bare pickle


class _WrongError(Exception):
    pass


def inspect(path: Path) -> None:
    """Check that the file is a checkpoint of this service, as far as its header tells.

    Raises:
        ServiceError: `not_a_checkpoint`, with the reason.
    """
    try:
        _look_through(path)
    except (_WrongError, ValueError, TypeError, LookupError, RecursionError) as error:
        why = _first_words(error)
        detail = (
            f"The file is not a checkpoint of this service: {why}. Send a file from "
            "GET /models/{reference}/export?format=safetensors."
        )
        raise ServiceError(ErrorCode.NOT_A_CHECKPOINT, detail) from None


def _look_through(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
        if start.startswith(_PICKLES):
            what = (
                "a zip archive, in which torch.save writes pickles" if start.startswith(_ZIP) else "a pickle"
            )
            raise _WrongError(f"it is {what}, and this service never reads pickles")
        length = int.from_bytes(start, "little")
        if len(start) < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
            raise _WrongError("it is not a safetensors file, or is cut off in its header")
        if length > MAX_HEADER_BYTES:
            raise _WrongError(f"its header has {length:,} bytes; the limit is {MAX_HEADER_BYTES:,}")
        header = json.loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise _WrongError("its header is not a JSON object")
    _require_whole(header, size - _LENGTH_BYTES - length)
    _require_ours(header.get("__metadata__"))


def _require_whole(header: dict[str, Any], body_bytes: int) -> None:
    """Require that the tensors, all float32, fill the body without gaps."""
    position = 0
    tensors = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
    for name, entry in sorted(tensors, key=lambda named: named[1]["data_offsets"]):
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if dtype != "F32":
            raise _WrongError(f"its tensor {name[:80]!r} has dtype {str(dtype)[:20]!r}; it must be F32")
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise _WrongError(f"the shape or place of its tensor {name[:80]!r} is not given in whole numbers")
        if len(shape) > _MOST_DIMENSIONS:
            raise _WrongError(
                f"its tensor {name[:80]!r} has {len(shape):,} dimensions; the limit is {_MOST_DIMENSIONS}"
            )
        if begin != position or end - begin != math.prod(shape) * _FLOAT_BYTES:
            raise _WrongError(f"its tensor {name[:80]!r} does not lie where its header says")
        position = end
    if position != body_bytes:
        raise _WrongError(
            f"its tensors need {position:,} bytes, but it has {body_bytes:,}: it is cut off or padded"
        )


def _require_ours(metadata: Any) -> None:
    text = metadata.get(HEADER_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise _WrongError(f"its metadata has no entry {HEADER_KEY!r}: it was written by something else")
    CheckpointHeader.model_validate_json(text)


def _first_words(error: Exception) -> str:
    if isinstance(error, _WrongError):
        return str(error)
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        where = "/".join(map(str, wrong["loc"]))[:100]
        return f"{where or 'the JSON'} in its header is wrong ({wrong['msg'][:100]})"
    return "its header is damaged"
