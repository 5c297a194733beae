"""Posts to webhook receivers, without giving clients access to this machine and its network (SSRF).

Each attempt resolves the host name once and connects to the address that was checked, because a second
look-up could return another one. Uses httpx's transport, not its client, so that there are no redirects,
cookies, proxies or credentials to switch off.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import httpx
from pydantic import HttpUrl

from contract.errors import ErrorCode, FieldError, ServiceError
from contract.webhook import Webhook
from service.settings import Settings

ATTEMPT_SECONDS = 10.0
_CONNECT_SECONDS = 4.0  # leaves time for a second address
_ADDRESSES = 4  # tried per name, at most
_LOOKUPS = 32
_EMBEDDING = IPv6Network("64:ff9b::/96")  # NAT64 (RFC 6052): an IPv4 address in its last 32 bits
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL = [
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's WireServer
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is Oracle Cloud's metadata
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "3fff::/20",  # documentation
    )
]
"""Not for receivers, although `is_global` in some versions of Python."""


@dataclass(frozen=True)
class Reply:
    """What a receiver answered."""

    status: int
    retry_after: str | None = None

    def pause_seconds(self, now: float) -> float:
        """The pause that `Retry-After` requests (RFC 9110, 10.2.3: seconds or a date); 0 if none."""
        if self.status not in (429, 503) or self.retry_after is None:
            return 0.0
        if self.retry_after.isascii() and self.retry_after.isdigit():
            return float(self.retry_after[:9])
        try:
            return max(0.0, parsedate_to_datetime(self.retry_after).timestamp() - now)
        except (ValueError, OverflowError):
            return 0.0


class UnreachableError(Exception):
    """An attempt got no answer; the message says why, and is shown to clients."""


def require_public(settings: Settings, webhook: Webhook | None) -> None:
    """Refuse a URL that is recognisably not public, without looking up its host name.

    Raises:
        ServiceError: `invalid_request`.
    """
    if webhook is None or settings.webhook_allow_private or not _is_plainly_private(webhook.url):
        return
    detail = (
        f"webhook/url points to {webhook.origin}, which is not a public address; name a host that is "
        "reachable from the internet, or have the operator set DCGAN_WEBHOOK_ALLOW_PRIVATE=true."
    )
    fields = (FieldError("/webhook/url", detail),)
    raise ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=fields)


def _is_plainly_private(url: HttpUrl) -> bool:
    host = (url.host or "").strip("[]").rstrip(".")
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is globally routable unicast; so must be an IPv4 address embedded in an IPv6 one."""
    if any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    inner = address.ipv4_mapped or address.sixtofour
    if address in _EMBEDDING:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    if inner is not None and not is_public(inner):
        return False
    return (
        address in _EMBEDDING
        or bool(address.ipv4_mapped)
        or (address in _GLOBAL_UNICAST and address.is_global)
    )


class Receivers:
    """Sends notifications, at most once per call."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None
        self._lookups = asyncio.Semaphore(_LOOKUPS)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, allow_private: bool) -> Reply:
        """Post a body, and return the reply without reading its body.

        Raises:
            UnreachableError: there was no reply, or no address that may be called.
        """
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._post(httpx.URL(url), headers, body, allow_private=allow_private)
        except httpx.InvalidURL as error:
            raise UnreachableError("Its address cannot be called.") from error
        except TimeoutError:
            raise UnreachableError(f"It did not answer within {ATTEMPT_SECONDS:.0f} s.") from None

    async def _post(
        self, url: httpx.URL, headers: Mapping[str, str], body: bytes, *, allow_private: bool
    ) -> Reply:
        host = url.raw_host.decode("ascii")
        addresses = await self._look_up(host, url.port or (443 if url.scheme == "https" else 80))
        if not allow_private and not all(is_public(ip_address(address)) for address in addresses):
            addresses = []
        if not addresses:  # one message for both, so as not to reveal which names a private network knows
            raise UnreachableError("Its name has no address, or one that is not public.")
        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        problem = ""
        for address in addresses[:_ADDRESSES]:
            request = httpx.Request(
                "POST",
                url.copy_with(host=address),
                headers={**headers, "Host": url.netloc.decode("ascii")},
                content=body,
                extensions={"sni_hostname": host, "timeout": {"connect": _CONNECT_SECONDS}},
            )
            try:
                return await _reply(request, self._tls)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = str(error)
            except httpx.TransportError as error:  # its message may contain part of the reply
                raise UnreachableError("The connection broke before it had answered.") from error
        raise UnreachableError(f"It could not be reached: {problem[:200] or 'no connection in time'}.")

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host name; empty if it has none.

        Runs in a daemon thread of its own, so that a hanging look-up blocks neither a pool of threads nor the
        exit of the process.
        """
        await self._lookups.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def tell(addresses: list[str]) -> None:
            self._lookups.release()
            if not found.done():
                found.set_result(addresses)

        def look_up() -> None:
            addresses = _addresses(host, port)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, addresses)

        try:
            threading.Thread(target=look_up, name="look-up", daemon=True).start()
        except RuntimeError as error:  # the process can start none at present
            self._lookups.release()
            raise UnreachableError("Its name cannot be looked up now.") from error
        return await found


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(place[0]) for *_, place in found]


async def _reply(request: httpx.Request, tls: ssl.SSLContext) -> Reply:
    async with httpx.AsyncHTTPTransport(verify=tls, trust_env=False) as transport:
        response = await transport.handle_async_request(request)
        await response.aclose()
        return Reply(response.status_code, response.headers.get("Retry-After"))
