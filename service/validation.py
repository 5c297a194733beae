"""What pydantic found, said as one sentence a client can act on, with a pointer to the field."""

from collections.abc import Sequence
from typing import Any

from contract.errors import FieldError

_SHOWN_CHARACTERS = 80


def field_error(found: Any) -> FieldError:
    """One entry of `RequestValidationError.errors()` as a pointer and a sentence."""
    where, *path = found["loc"]
    if found["type"] == "json_invalid":
        return FieldError("", f"The body is not valid JSON: {found['ctx']['error']} at character {path[0]}.")
    pointer = json_pointer(path) if where == "body" else str(path[0] if path else where)
    return FieldError(pointer, _sentence(pointer, found))


def json_pointer(path: Sequence[str | int]) -> str:
    """RFC 6901: `("a", 0)` is `/a/0`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _sentence(pointer: str, found: Any) -> str:
    name = pointer.lstrip("/") or "The body"
    match found["type"]:
        case "missing":
            return f"{name} is missing; it is required."
        case "extra_forbidden":
            return f"{name} is not known here; remove it, or correct its spelling (see /docs)."
        case "string_pattern_mismatch":
            return f"{name} is {_shown(found['input'])}, which is not of the form {found['ctx']['pattern']}."
        case "value_error":
            return f"{name}: {found['ctx']['error']}."
    message = found["msg"].removeprefix("Input ").removeprefix("Value ")
    return f"{name} is {_shown(found['input'])} but {message[:1].lower()}{message[1:]}."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
