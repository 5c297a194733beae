"""Settings of the environment that cannot be: a line for each, where pydantic would end in a traceback."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ValidationError

S = TypeVar("S")

PREFIX = "DCGAN_"
EXIT_CODE = os.EX_CONFIG
"""Of a process that cannot begin with its settings: starting it again would come to the same."""
_SCHEMES = ("redis://", "rediss://", "unix://")
_SECRET = ("URL", "SECRET")


def _require_scheme(url: str) -> str:
    if not url.startswith(_SCHEMES):
        raise ValueError(f"a URL that begins with {', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]} is expected")
    return url


RedisUrl = Annotated[str, AfterValidator(_require_scheme)]


def read_or_exit(read: Callable[[], S], environment: Mapping[str, str]) -> S:
    """What `read` makes of the environment; where a setting cannot be, the process ends and says which."""
    try:
        return read()
    except ValidationError as error:
        print(complaints(error, environment), file=sys.stderr)  # noqa: T201 — before there is a log
        sys.exit(EXIT_CODE)


def complaints(error: ValidationError, environment: Mapping[str, str]) -> str:
    """A line for each setting that was refused: the variable, its value unless that is secret, and why."""
    return "\n".join(_complaint(one["loc"], one["msg"], environment) for one in error.errors())


def _complaint(where: tuple[int | str, ...], why: str, environment: Mapping[str, str]) -> str:
    why = why.removeprefix("Value error, ")
    if not where:
        return why
    field = str(where[0])
    name = PREFIX + field.upper()
    value = environment.get(name)
    if value is None:
        return f"{field}: {why}"
    is_secret = any(part in name for part in _SECRET)
    return f"{name}: {why}" if is_secret else f"{name}={value!r}: {why}"
