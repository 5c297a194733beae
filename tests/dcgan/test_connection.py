"""Requests go where they are meant to go, and what cannot be sent is refused."""

import httpx
import pytest

from dcgan import Client, DcganError
from dcgan.errors import unreachable
from tests.dcgan.conftest import Service


def test_id_stays_one_path_segment_whatever_it_contains(service: Service) -> None:
    with Client(service.url) as client:
        for stray in ("../jobs/job_x", "a?b=c#d", "50%2F", "caf\udce9", "é"):
            with pytest.raises(DcganError, match="404"):
                client.delete_dataset(stray)
        with pytest.raises(DcganError, match="404"):
            next(iter(client.events("../models/live")))
        with pytest.raises(DcganError, match="404"):
            client.model("sha256:ab")
    assert service.asked == [
        "DELETE /datasets/..%2Fjobs%2Fjob_x",
        "DELETE /datasets/a%3Fb%3Dc%23d",
        "DELETE /datasets/50%252F",
        "DELETE /datasets/caf%E9",
        "DELETE /datasets/%C3%A9",
        "GET /jobs/..%2Fmodels%2Flive/events",
        "GET /models/sha256:ab",
    ]


@pytest.mark.parametrize("lost", ["", ".", ".."])
def test_id_that_would_vanish_from_a_path_is_refused(service: Service, lost: str) -> None:
    with Client(service.url) as client:
        for ask in (client.delete_job, client.events, client.alias_history):
            with pytest.raises(DcganError, match="neither an id nor a name"):
                ask(lost)
    assert not service.asked


def test_state_stays_one_query_value_whatever_it_contains(service: Service) -> None:
    service.answers["GET /jobs"] = (200, "application/json", b'{"items": [], "next": null}')
    with Client(service.url) as client:
        assert not list(client.jobs("a&limit=1"))
    assert service.asked == ["GET /jobs?state=a%26limit%3D1"]


def test_delete_requests_name_what_is_deleted(service: Service) -> None:
    service.answers |= {"DELETE /datasets/ds_1": (204, "", b""), "DELETE /jobs/job_1": (204, "", b"")}
    with Client(service.url) as client:
        client.delete_dataset("ds_1")
        client.delete_job("job_1")
    assert service.asked == ["DELETE /datasets/ds_1", "DELETE /jobs/job_1"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("localhost:8765", "with http:// or https:// and a host: http://localhost:8765"),
        ("127.0.0.1:8000", "with http:// or https:// and a host: http://127.0.0.1:8000"),
        ("ftp://x", "with http:// or https:// and a host: http://127.0.0.1:8000"),
        ("http://", "with http:// or https:// and a host: http://127.0.0.1:8000"),
        ("http://[bad", "'http://[bad' is not an address: Invalid IPv6 URL"),
        ("http://u:p@localhost:abc", "'http://localhost:abc' is not an address: Port could not be cast"),
        ("http://u:secret/p@h", "'http://h' is not an address: in a user name or password, / is written %2F"),
        ("http://u:secret\n@h", "'http://h' is not an address: "),
        ("u:secret@h:8000", "'h:8000' does not begin as an address does"),
        ("ftp://u:secret@h", "'ftp://h' does not begin as an address does"),
        ("http://localhost:99999", "is not an address: Port out of range"),
        ("http://localhost:99999/a@b", "is not an address: Port out of range"),
        ("http://u:secret@a℀b", "'http://a℀b' is not an address: netloc 'a℀b' contains invalid characters"),
        ("http://x/\a", "is not an address: Invalid non-printable ASCII character"),
        ("http://a..b", "is not an address: "),
        ("http://xn--ls8h.la", "is not an address: Codepoint U+1F4A9"),
        ("http://xn--a.example", "is not an address: Codepoint U+0080"),
    ],
)
def test_invalid_url_is_reported_at_once(address: str, told: str) -> None:
    with pytest.raises(DcganError) as caught:
        Client(address)
    assert caught.value.code == "invalid_url"
    assert told in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    "address",
    ["https://é.example/a/", "http://xn--9ca.example", "HTTP://[::1]:80", "http://my_box.", "http://u:p@h"],
)
def test_every_valid_url_is_accepted(address: str) -> None:
    Client(address).close()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ALL_PROXY", "socks5://localhost:1080", "SOCKS"),
        ("HTTP_PROXY", "ftp://localhost", "Unknown scheme for proxy URL"),
        ("HTTPS_PROXY", "http://localhost:abc", "Invalid port: 'abc'"),
        ("NO_PROXY", "[::1", "Invalid port: ':1'"),
        ("SSL_CERT_FILE", "/nowhere.pem", "No such file or directory"),
        ("SSL_CERT_FILE", __file__, "no certificate or crl found"),
    ],
)
def test_proxy_or_certificates_that_cannot_be_used_are_reported(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.delenv(variable.lower(), raising=False)  # it would take precedence
    monkeypatch.setenv(variable, value)
    with pytest.raises(DcganError, match="the environment names") as caught:
        Client("http://gpu.example")
    assert caught.value.code == "unusable_environment"
    assert told in caught.value.detail
    assert variable in caught.value.detail


@pytest.mark.parametrize(
    ("condition", "told"), [("é", "'é' cannot be sent: it is not ASCII"), ("a\nb", "cannot be sent: Illegal")]
)
def test_value_that_no_header_can_hold_is_reported(service: Service, condition: str, told: str) -> None:
    with Client(service.url) as client, pytest.raises(DcganError, match=told) as caught:
        client.roll_back_alias("live", if_match=condition)
    assert caught.value.code == "not_sendable"


def test_text_that_is_not_utf_8_is_reported(service: Service) -> None:
    with Client(service.url) as client:
        for send in (lambda: client.create_job(name="\udce9"), lambda: list(client.jobs("\udce9"))):
            with pytest.raises(DcganError, match="it is not UTF-8"):
                send()


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("http://localhost:8000", "Start one with `dcgan up`."),
        ("http://[::1]:8000", "Start one with `dcgan up`."),
        ("http://gpu.example:8000", "Is the address right?"),
    ],
)
def test_only_a_local_service_is_to_be_started(address: str, remedy: str) -> None:
    told = unreachable(address, httpx.ConnectError("Name or service not known"))
    assert told.detail == f"No service answers at {address} (Name or service not known). {remedy}"


@pytest.mark.parametrize(
    ("losses", "page", "code"),
    [(1, b"", "unreachable"), (0, b"It works!", "not_the_service"), (0, b"", "http")],
)
def test_password_in_the_url_is_in_no_message(service: Service, losses: int, page: bytes, code: str) -> None:
    service.losses, service.page = losses, page
    address = service.url.replace("//", "//user:secret@")
    with Client(address) as client, pytest.raises(DcganError, match=service.url) as caught:
        client.job("job_1")
    assert caught.value.code == code
    assert "user" not in caught.value.detail
    assert "secret" not in caught.value.detail


def test_password_in_the_url_is_in_no_message_about_a_timeout() -> None:
    asked = httpx.Request("GET", "http://user:secret@h", extensions={"timeout": {"read": 1.0}})
    told = unreachable(asked.url, httpx.ReadTimeout("timed out", request=asked))
    assert told.detail.startswith("The service at http://h did not answer within 1 s")
