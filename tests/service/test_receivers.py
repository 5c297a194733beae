"""Webhooks reach only public addresses; no trick leads them to this machine or its network."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.webhook import Webhook
from service.receivers import Receivers, Reply, UnreachableError, require_public
from service.settings import Settings
from tests.service.receiver import SECRET, Receiver, receiving
from tests.worker.threadless import no_threads

PUBLIC, OTHER_PUBLIC = "93.184.216.34", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "100::1",
    "168.63.129.16", "192.0.0.0", "192.0.0.9", "192.0.0.192", "192.0.0.255", "192.88.99.0", "192.88.99.255",
    "2001:1::1", "2001:1ff:ffff::1", "3fff::", "3fff:fff:ffff::1", "5f00::1", "100:0:0:1::1",
    "::ffff:168.63.129.16", "::ffff:192.0.0.192", "64:ff9b::168.63.129.16", "64:ff9b::192.0.0.192",
    "2002:a83f:8110::", "2002:c000:c0::", "2002:c058:6301::",
]  # fmt: skip
PUBLIC_ONES = [
    PUBLIC,
    OTHER_PUBLIC,
    f"::ffff:{PUBLIC}",
    f"64:ff9b::{PUBLIC}",
    "8.8.8.8",
    "168.63.129.15",
    "192.0.1.1",
    "192.88.98.255",
    "2001:4860:4860::8888",
    "2001:200::1",
    "3ffe:ffff::1",
]


class Resolver:
    """Replaces `getaddrinfo`: answers look-ups of .test names, and records them."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []  # one per look-up; the last one is repeated
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not name.endswith(".test"):
            return self._real(host, port, *args, **options)
        self.asked.append(name)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    planted = Resolver()
    monkeypatch.setattr("socket.getaddrinfo", planted)
    return planted


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that would be connected to; no connection is made."""
    hosts: list[str] = []

    async def note(request: httpx.Request, _tls: ssl.SSLContext) -> Reply:
        hosts.append(request.url.host)
        return Reply(200)

    monkeypatch.setattr("service.receivers._reply", note)
    return hosts


def post(url: str, *, allow_private: bool = False) -> int:
    async def once() -> int:
        return (await Receivers().post(url, {"webhook-id": "x"}, b"{}", allow_private=allow_private)).status

    return asyncio.run(once())


@pytest.mark.parametrize("address", PRIVATE)
def test_name_that_resolves_to_a_private_address_is_not_called(
    resolver: Resolver, reached: list[str], address: str
) -> None:
    for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
        resolver.answers = [answer]
        with pytest.raises(UnreachableError, match="not public"):
            post("http://inside.test/")
    assert reached == []


@pytest.mark.parametrize("address", PUBLIC_ONES)
def test_name_that_resolves_to_a_public_address_is_called(
    resolver: Resolver, reached: list[str], address: str
) -> None:
    resolver.answers = [[address]]
    assert post("https://outside.test/") == 200
    assert reached == [address]


def test_name_is_resolved_only_once_so_that_rebinding_it_has_no_effect(
    resolver: Resolver, reached: list[str]
) -> None:
    resolver.answers = [[PUBLIC], ["127.0.0.1"]]
    assert post("http://rebind.test/") == 200
    assert (resolver.asked, reached) == (["rebind.test"], [PUBLIC])


def test_connecting_makes_no_second_look_up(resolver: Resolver, receiver: Receiver) -> None:
    resolver.answers = [["127.0.0.1"], ["127.0.0.9"]]
    port = receiver.url.rpartition(":")[2]
    assert post(f"http://rebind.test:{port}/hook", allow_private=True) == 200
    assert resolver.asked == ["rebind.test"]
    assert receiver.calls[0].headers["host"] == f"rebind.test:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]"])
def test_no_spelling_of_localhost_is_called(receiver: Receiver, host: str) -> None:
    port = receiver.url.rpartition(":")[2]
    with pytest.raises(UnreachableError):
        post(f"http://{host}:{port}/")
    assert receiver.calls == []


def test_a_second_address_is_tried_when_the_first_does_not_answer(
    resolver: Resolver, receiver: Receiver
) -> None:
    resolver.answers = [["127.0.0.9", "127.0.0.1"]]  # the receiver listens only on the second
    assert post(f"http://two.test:{receiver.url.rpartition(':')[2]}/", allow_private=True) == 200


def test_redirect_is_returned_and_not_followed(receiver: Receiver) -> None:
    receiver.answers = [307]
    assert post(receiver.url, allow_private=True) == 307
    assert len(receiver.calls) == 1


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert post(receiver.url, allow_private=True) == 200


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of receiver.test, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, signed, both = (tmp_path / name for name in ("key.pem", "signed.pem", "both.pem"))
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=receiver.test", "-days", "1"]
    named = ["-addext", "subjectAltName=DNS:receiver.test", "-keyout", str(key), "-out", str(signed)]
    subprocess.run(["openssl", *request, *named], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + signed.read_bytes())
    return both


def test_certificate_is_checked_against_the_name_and_not_the_address(
    resolver: Resolver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr("httpx.create_ssl_context", lambda: context)
    resolver.answers = [["127.0.0.1"]]
    with receiving(certificate=certificate) as receiver:
        port = receiver.url.rpartition(":")[2]
        assert post(f"https://receiver.test:{port}/", allow_private=True) == 200
        with pytest.raises(UnreachableError, match=r"not valid for 'other\.test'"):
            post(f"https://other.test:{port}/", allow_private=True)


def _answer_with(content: bytes) -> Callable[[socket.socket], None]:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(content)
            with suppress(ConnectionResetError):
                while connection.recv(65536):  # until the client hangs up
                    pass

    return serve


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-ERR unknown command 'POST'\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
)
def test_receiver_without_a_valid_response_fails_in_time_and_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("service.receivers.ATTEMPT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_with(content), args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(
            UnreachableError, match=r"^(The connection broke before it had|It did not) answer"
        ) as refusal:
            post(f"http://127.0.0.1:{listener.getsockname()[1]}/", allow_private=True)
    assert "ERR" not in str(refusal.value)


def test_endless_response_body_is_not_read(receiver: Receiver) -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 1000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_with(endless), args=(listener,), daemon=True).start()
        assert post(f"http://127.0.0.1:{listener.getsockname()[1]}/", allow_private=True) == 200


def test_hanging_look_up_blocks_neither_the_caller_nor_the_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.receivers.ATTEMPT_SECONDS", 0.2)
    hanging = threading.Event()
    monkeypatch.setattr("service.receivers._addresses", lambda _host, _port: hanging.wait() and [])
    with ThreadPoolExecutor(1) as threads:
        try:
            with pytest.raises(UnreachableError, match="did not answer"):
                threads.submit(post, "http://slow.test/").result(timeout=60)
        finally:
            hanging.set()


def test_look_up_that_no_thread_can_be_started_for_keeps_no_later_one_waiting(
    monkeypatch: pytest.MonkeyPatch, reached: list[str], resolver: Resolver
) -> None:
    monkeypatch.setattr("service.receivers._LOOKUPS", 1)
    resolver.answers = [[PUBLIC]]

    async def post_with_and_without_threads() -> Reply:
        receivers = Receivers()
        with no_threads():
            for _ in range(2):
                with pytest.raises(UnreachableError, match="cannot be looked up now"):
                    await receivers.post("http://outside.test/", {}, b"{}", allow_private=False)
        return await receivers.post("http://outside.test/", {}, b"{}", allow_private=False)

    assert asyncio.run(post_with_and_without_threads()) == Reply(200)
    assert reached == [PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/", "http://LOCALHOST./", "http://a.localhost/", "http://127.0.0.1/", "http://127.1/",
        "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://①②⑦.⓪.⓪.①/", "http://0/",
        "https://10.1.2.3/", "http://169.254.169.254/latest/meta-data", "http://100.64.0.1/", "http://[::1]:80/",
        "http://[::ffff:10.0.0.1]/", "http://[fe80::1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    ],
)  # fmt: skip
def test_recognisably_private_url_is_refused_without_a_look_up(url: str, resolver: Resolver) -> None:
    webhook = Webhook.model_validate({"url": url, "secret": SECRET})
    with pytest.raises(Exception, match="not a public address") as refusal:
        require_public(Settings(), webhook)
    assert refusal.value.fields[0].pointer == "/webhook/url"  # type: ignore[attr-defined]
    require_public(Settings(webhook_allow_private=True), webhook)
    assert resolver.asked == []


@pytest.mark.parametrize("host", ["example.com", PUBLIC, f"[{OTHER_PUBLIC}]", "localhost.example.com"])
def test_url_that_may_be_public_is_not_refused_before_it_is_called(host: str) -> None:
    require_public(Settings(), Webhook.model_validate({"url": f"https://{host}/x", "secret": SECRET}))
