"""Reports invalid settings in the environment, one line each, instead of pydantic's traceback."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ValidationError

S = TypeVar("S")

PREFIX = "DCGAN_"
EXIT_CODE = os.EX_CONFIG
"""Exit code of a process whose settings are invalid, so that restarting it is useless."""
_SCHEMES = ("redis://", "rediss://", "unix://")
_SECRET = ("URL", "SECRET")


def _require_scheme(url: str) -> str:
    if not url.startswith(_SCHEMES):
        raise ValueError(f"a URL that begins with {', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]} is expected")
    return url


RedisUrl = Annotated[str, AfterValidator(_require_scheme)]


def read_or_exit(read: Callable[[], S], environment: Mapping[str, str]) -> S:
    """Read the settings with `read`; if some are invalid, print which and exit."""
    try:
        return read()
    except ValidationError as error:
        print(complaints(error, environment), file=sys.stderr)  # noqa: T201 — before there is a log
        sys.exit(EXIT_CODE)


def complaints(error: ValidationError, environment: Mapping[str, str]) -> str:
    """One line per invalid setting: the variable, its value unless that is secret, and the reason."""
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
