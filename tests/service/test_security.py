"""Foreign hosts and origins are refused, because any web page can reach localhost."""

import re
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from service.security import OwnNames, _host_name
from service.settings import Settings
from tests.service.problems import refused
from tests.service.serving import client_of


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "["])
@pytest.mark.parametrize("path", ["/livez", "/samples?seed=1", "/nowhere"])
def test_a_foreign_host_is_refused(client: httpx.Client, host: str, path: str) -> None:
    refused(client.get(path, headers={"host": host}), 403, "foreign_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8000", "localhost:8000"])
def test_a_local_host_is_served(client: httpx.Client, host: str) -> None:
    assert client.get("/livez", headers={"host": host}).status_code == 200


def test_very_long_host_is_foreign_and_not_cached() -> None:
    before = _host_name.cache_info().misses
    assert not OwnNames(()).include("localhost:" + "0" * 300)
    assert _host_name.cache_info().misses == before


def test_a_host_that_the_operator_allows_is_served(redis_url: str, tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path, redis_url=redis_url, allowed_hosts=("gateway",))
    with client_of(settings) as client:
        assert client.get("/livez", headers={"host": "gateway:8000"}).status_code == 200


def test_allowed_hosts_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCGAN_ALLOWED_HOSTS", "gateway, images.example")
    assert Settings().allowed_hosts == ("gateway", "images.example")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("Images.example", "images.example:8443"),
        ("my_gateway-2", "my_gateway-2"),
        ("10.0.0.7", "10.0.0.7:8000"),
        ("fd00::7", "[fd00::7]:8000"),
        ("FD00::7", "[fd00::7]"),
    ],
)
def test_every_form_of_an_allowed_host_is_served(name: str, host: str) -> None:
    assert OwnNames(Settings(allowed_hosts=(name,)).allowed_hosts).include(host)


@pytest.mark.parametrize(
    "name",
    [
        "images.example:8443",
        "https://images.example",
        "images.example/",
        "*",
        "*.example",
        "[fd00::7]",
        "10.0.0.7:8000",
        "images.example gateway",
        "images..example",
        "bücher.example",
    ],
)
def test_allowed_host_that_no_request_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{re.escape(repr(name))} was given, .* without scheme, port"):
        Settings(allowed_hosts=("gateway", name))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "sideways"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/datasets"), ("POST", "/jobs"), ("PUT", "/models/mine"), ("DELETE", "/jobs/job_0")],
)
def test_a_foreign_page_may_not_change_anything(
    client: httpx.Client, headers: dict[str, str], method: str, path: str
) -> None:
    refused(client.request(method, path, headers=headers), 403, "foreign_origin")


def test_own_page_may_make_changes(client: httpx.Client, pictures: bytes) -> None:
    own = f"http://{client.base_url.netloc.decode()}"
    headers = {"origin": own, "sec-fetch-site": "same-origin"}
    assert client.post("/datasets", content=pictures, headers=headers).status_code == 202


def test_foreign_page_may_send_get_requests(client: httpx.Client) -> None:
    headers = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    assert client.get("/livez", headers=headers).status_code == 200
