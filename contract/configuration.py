"""What the settings of all processes share: types, and how invalid ones are reported, one line each."""

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, ValidationError

S = TypeVar("S")

PREFIX = "DCGAN_"
EXIT_CODE = os.EX_CONFIG
"""Exit code of a process whose settings are invalid, so that restarting it is useless."""
_SECRET = ("URL", "SECRET")
_TLS_OPTIONS = (
    "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile",
    "ssl_keyfile", "ssl_password", "ssl_ciphers",
)  # fmt: skip
"""Those that both redis-py and kombu take from a URL."""
_TLS_VALUES = {"ssl_cert_reqs": ("none", "optional", "required"), "ssl_check_hostname": ("true", "false")}
"""The values that both understand in the same way; other options take any."""


def _require_redis(url: str) -> str:
    """Refuse what either redis-py or kombu would. The reason quotes nothing, as it could be of a password."""
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("a URL that begins with redis:// or rediss:// is expected")
    try:
        is_usable = _is_usable(urlsplit(url))
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(
            "redis://:PASSWORD@HOST:PORT/DATABASE is expected: port and database are numbers, the password "
            "is percent-encoded, and only rediss:// may have a query, of these options, each once at most: "
            f"{', '.join(_TLS_OPTIONS)} (ssl_cert_reqs is none, optional or required)"
        )
    return url


def _is_usable(url: SplitResult) -> bool:
    """May raise a ValueError instead."""
    return (
        (url.port is None or url.port > 0)
        and re.fullmatch(r"/?[0-9]*", url.path) is not None
        and (not url.query or (url.scheme == "rediss" and _has_tls_options(url.query)))
        and not url.fragment
    )


def _has_tls_options(query: str) -> bool:
    """May raise a ValueError instead."""
    options = parse_qsl(query, strict_parsing=True)
    return len(dict(options)) == len(options) and all(
        name in _TLS_OPTIONS and value in _TLS_VALUES.get(name, (value,)) for name, value in options
    )


RedisUrl = Annotated[str, AfterValidator(_require_redis)]


def _known_level(name: str) -> str:
    if logging.getLevelNamesMapping().get(name.upper(), logging.NOTSET) == logging.NOTSET:
        raise ValueError("one of DEBUG, INFO, WARNING, ERROR and CRITICAL is expected")
    return name.upper()


LogLevel = Annotated[str, AfterValidator(_known_level)]
LOG_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def read_or_exit(read: Callable[[], S], environment: Mapping[str, str]) -> S:
    """Read the settings with `read`; if some are invalid, print which and exit."""
    try:
        return read()
    except ValidationError as error:
        print(complaints(error, environment), file=sys.stderr)  # noqa: T201 — before there is a log
        sys.exit(EXIT_CODE)


def complaints(error: ValidationError, environment: Mapping[str, str]) -> str:
    """One line per invalid setting: the variable, its value unless that is secret, and the reason."""
    return "\n".join(
        _complaint(one["loc"], one["msg"], environment)
        for one in error.errors()
        if one["type"] != "default_factory_not_called"  # follows from another
    )


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
