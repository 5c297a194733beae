"""Turns pydantic's errors into sentences that clients can act on, with pointers to the fields."""

import json
from collections.abc import Sequence
from typing import Any

from contract.errors import FieldError
from contract.identifiers import (
    ALIAS_PATTERN,
    CURSOR_PATTERN,
    DATASET_PATTERN,
    DIGEST_PATTERN,
    JOB_PATTERN,
    PRINTABLE_ASCII,
)

_SHOWN_CHARACTERS = 80
_NEVER_REPEATED = "/webhook"  # it may contain a secret anywhere, even in the wrong field
_KINDS_OF_VALUE = {
    "an object": ("model_type", "model_attributes_type", "dict_type"),
    "a list": ("tuple_type", "list_type"),
    "a whole number": ("int_type", "int_parsing", "int_from_float"),
    "a number": ("float_type", "float_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
    "text": ("string_type",),
}
_WANTED = {error: wanted for wanted, errors in _KINDS_OF_VALUE.items() for error in errors}
"""What JSON calls the value that is wanted, by pydantic's error, which says it in Python's words."""
_OF_PATTERN = {
    JOB_PATTERN: "the id of a job (job_ and 16 characters; GET /jobs lists them)",
    DATASET_PATTERN: "the id of a dataset (ds_ and 16 characters; GET /datasets lists them)",
    DIGEST_PATTERN: "a generator's digest (sha256: and 64 hexadecimal digits)",
    ALIAS_PATTERN: "an alias: up to 63 of a-z, 0-9 and -, beginning with a letter",
    CURSOR_PATTERN: "what `next` of the previous page gives",
    PRINTABLE_ASCII: "printable characters of ASCII",
}
"""What text is that matches a pattern."""
_ABOUT_THE_KIND = ("union_tag_invalid", "union_tag_not_found")


def field_error(found: Any, body: object) -> FieldError:
    """Convert an entry of `RequestValidationError.errors()`, about `body`, to a pointer and a sentence."""
    where, *path = found["loc"]
    if found["type"] == "json_invalid":
        return FieldError("", f"The body is not valid JSON: {found['ctx']['error']} at character {path[0]}.")
    pointer = (
        json_pointer(_in_body(found, path, body)) if where == "body" else str(path[0] if path else where)
    )
    return FieldError(pointer, _sentence(pointer, found))


def json_pointer(path: Sequence[str | int]) -> str:
    """RFC 6901: `("a", 0)` is `/a/0`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _in_body(found: Any, path: Sequence[str | int], body: object) -> list[str | int]:
    """Return the path in the client's body: pydantic inserts a union's tag before a plug-in's parameters.

    A name that the body lacks, and that is not the last, is such a tag. An error about the tag itself becomes
    an error about `kind`.
    """
    place: list[str | int] = []
    for depth, part in enumerate(path, 1):
        if isinstance(body, dict) and part not in body and depth < len(path):
            continue
        place.append(part)
        body = _inside(body, part)
    return [*place, "kind"] if found["type"] in _ABOUT_THE_KIND else place


def _inside(body: object, part: str | int) -> object:
    if isinstance(body, dict):
        return body.get(part)
    if isinstance(body, list) and isinstance(part, int):
        return body[part]
    return None


def _sentence(pointer: str, found: Any) -> str:
    name = pointer.lstrip("/") or "The body"
    match found["type"]:
        case "missing" | "union_tag_not_found":
            return f"{name} is missing; it is required."
        case "extra_forbidden":
            return (
                f"{name} is not a known field or parameter; remove it, or correct its spelling (see /docs)."
            )
        case "string_pattern_mismatch":
            pattern = found["ctx"]["pattern"]
            wanted = _OF_PATTERN.get(pattern, f"text that matches the pattern {pattern}")
            return f"{name} is {_shown(found['input'])} but should be {wanted}."
        case "too_long":
            count, most = found["ctx"]["actual_length"], found["ctx"]["max_length"]
            return f"{name} has {count} entries; at most {most} are allowed."
        case "value_error":
            return f"{name}: {found['ctx']['error']}."
        case "union_tag_invalid":
            allowed, tag = found["ctx"]["expected_tags"], found["ctx"]["tag"]
            return f"{name} is {_shown(tag)} but should be one of {allowed}."
    message = found["msg"].removeprefix("Input ").removeprefix("Value ")
    if found["type"] in _WANTED:
        message = f"should be {_WANTED[found['type']]}"
    if found["type"] == "int_type" and isinstance(found["input"], float) and found["input"].is_integer():
        message += f", written without a point or an exponent: {found['input']:.0f}"
    if not pointer or pointer.startswith(_NEVER_REPEATED):
        return f"{name}: {message}."
    return f"{name} is {_shown(found['input'])} but {message[:1].lower()}{message[1:]}."


def _shown(value: object) -> str:
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
