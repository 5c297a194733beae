"""Requests to one service: refusals and outages become exceptions, answers become models."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from json import dumps
from operator import index
from typing import SupportsFloat, SupportsIndex, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from dcgan.errors import (
    LOCAL,
    DcganError,
    not_the_service,
    refusal,
    unreachable,
    unsendable,
    unusable_environment,
)
from dcgan.replies import Dataset, Job, Reply

EXAMPLE = "http://127.0.0.1:8000"

R = TypeVar("R", bound=Reply)


class Connection:
    """Sends requests to one service and checks the answers."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        is_local = _host(url) in LOCAL
        try:
            transport = httpx.HTTPTransport(retries=2) if is_local else None  # no proxy for localhost
            self._http = httpx.Client(
                base_url=url, timeout=timeout_seconds, transport=transport, trust_env=not is_local
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise unusable_environment(error) from error

    @property
    def url(self) -> str:
        """The URL of the service, without a slash at its end."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, kind: type[R], path: str) -> R:
        """GET the path."""
        return read(kind, self.send("GET", path))

    def delete(self, path: str) -> None:
        """DELETE the path."""
        response = self.send("DELETE", path)
        if response.status_code != HTTPStatus.NO_CONTENT:
            raise not_the_service(response.url)

    def pages(self, kind: type[R], path: str, params: Mapping[str, str] | None = None) -> Iterator[R]:
        """All items of a paginated list."""
        address: str | None = path
        while address:
            response = self.send("GET", address, params=params)
            try:
                page = response.json()
                items, address, params = [*map(kind.model_validate, page["items"])], page.get("next"), None
            except (ValueError, LookupError, TypeError) as error:
                raise not_the_service(response.url) from error
            yield from items

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout | float,
        media_type: str | None = None,
    ) -> Iterator[httpx.Response]:
        """GET an answer, to be read as it arrives; it must have `media_type` if that is given."""
        with (
            self._in_our_words(),
            self._http.stream("GET", path, params=params, headers=headers, timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
            check(response, media_type)
            yield response

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        content: Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        media_type: str | None = None,
    ) -> httpx.Response:
        """Send a request and return the whole answer, which must have `media_type` if that is given."""
        timeout = self._http.timeout if timeout_seconds is None else timeout_seconds
        headers = dict(headers or {})
        with self._in_our_words():
            body: Iterator[bytes] | bytes | None = content
            if json is not None:
                body, headers["Content-Type"] = _encoded(json).encode(), "application/json"
            response = self._http.request(
                method, path, params=params, content=body, headers=headers, timeout=timeout
            )
        check(response, media_type)
        return response

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error
        except httpx.DecodingError as error:
            raise not_the_service(self._http.base_url) from error
        except UnicodeEncodeError as error:
            raise unsendable(error) from error


def check(response: httpx.Response, media_type: str | None) -> None:
    """Raise if the service refused, or if the answer does not have the media type that it would send."""
    if not response.is_success:
        raise refusal(response)
    if media_type and response.headers.get("content-type", "").partition(";")[0].strip() != media_type:
        raise not_the_service(response.url)


def read(kind: type[R], response: httpx.Response) -> R:
    """Parse an answer. If that fails, something else is listening at the address."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise not_the_service(response.url) from error


def _encoded(body: object) -> str:
    try:
        return dumps(body, default=_plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DcganError("not_sendable", f"The request cannot be sent: {error}.") from error


def _plain(value: object) -> object:
    """What JSON has for a number of another package, and for a record of ours."""
    if isinstance(value, Dataset | Job):
        return value.id
    if isinstance(value, SupportsIndex):
        return index(value)
    if isinstance(value, SupportsFloat):
        return float(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}, for which JSON has no value")


def _host(url: str) -> str:
    """The host of a service's URL. An invalid URL is reported here, not at the first request."""
    shown = re.sub(r"(?s)^(.*?//|).*@", r"\1", url)  # without user and password
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or ""), parts.port
        host.encode("idna")
        _ = httpx.URL(url).host  # decodes xn--…, which may stand for what IDNA 2008 forbids
    except (ValueError, httpx.InvalidURL) as error:
        reason = re.sub(r"(?s)'.*@", "'", str(error))
        if (
            re.search(r"(?s)//.*[/?#].*@", url) and "Port out of range" not in reason
        ):  # it may quote the password
            reason = "in a user name or password, / is written %2F, ? %3F, and # %23"
        detail = f"{shown!r} is not an address: {reason}. One looks like {EXAMPLE}."
        raise DcganError("invalid_url", detail) from error
    if parts.scheme not in {"http", "https"} or not host:
        example = EXAMPLE if not shown or "//" in shown else f"http://{shown}"
        detail = (
            f"{shown!r} does not begin as an address does, with http:// or https:// and a host: {example}"
        )
        raise DcganError("invalid_url", detail)
    return host


def path_to(*parts: str) -> str:
    """The path of these parts, quoted so that each stays one segment.

    Raises:
        DcganError: for a part that would vanish when the path is normalised.
    """
    for part in parts:
        if part in {"", ".", ".."}:
            raise DcganError("invalid_reference", f"{part!r} is neither an id nor a name; give a whole one.")
    return "".join(f"/{quote(part, safe=':', errors='surrogateescape')}" for part in parts)
