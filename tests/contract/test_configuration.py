"""A Redis URL is accepted if every process can use it; a refusal quotes nothing, lest it be a password."""

import pytest
from pydantic import TypeAdapter, ValidationError

from contract.configuration import RedisUrl

URL: TypeAdapter[str] = TypeAdapter(RedisUrl)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://redis",
        "redis://127.0.0.1:6379/0",
        "redis://[::1]:6379/15",
        "redis://me:p%40ss%2Fw%3Ard@redis:6379/",
        "rediss://:p@ss:word@redis:6380/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem",
        "rediss://redis:6380/0?ssl_cert_reqs=none&ssl_check_hostname=false",
    ],
)
def test_url_that_every_process_can_use_is_accepted(url: str) -> None:
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379/secret",
        "unix:///secret/redis.sock",  # kombu has no such transport
        "redis://secret:abc/0",
        "redis://secret:0/0",
        "redis://secret:99999/0",
        "redis://secret:6379/abc",
        "redis://secret:6379/0/1",
        "redis://secret:6379/0?db=1",
        "redis://[secret",
        "redis://:secret/word@redis:6379/0",
        "redis://:pass@secret/w:ord@redis:6379/0",
        "redis://:1234/secret@redis:6379/0",
        "redis://:1234?secret@redis:6379/0",
        "redis://:1234?ssl_secret@redis:6379/0",
        "rediss://:1234?ssl_secret@redis:6379/0",
        "redis://secret:6379/0?ssl_cert_reqs=none",  # without TLS
        "rediss://secret:6380/0?ssl_cert_reqs=CERT_NONE",  # kombu's name alone
        "rediss://secret:6380/0?ssl_check_hostname=0",  # which kombu takes for true
        "rediss://secret:6380/0?ssl_min_version=771",  # which kombu leaves a string
        "rediss://secret:6380/0?ssl_foo=1",
        "rediss://secret:6380/0?ssl_cert_reqs=none&db=3",
        "rediss://secret:6380/0?ssl_cert_reqs=none&ssl_cert_reqs=required",
        "redis://:1234#secret@redis:6379/0",
        "redis://:secret\u2100@redis:6379/0",  # its compatible form has a slash, which urlsplit complains of
    ],
)
def test_url_that_some_process_cannot_use_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        URL.validate_python(url)
    (reason,) = (error["msg"] for error in refusal.value.errors())
    assert "is expected" in reason
    assert "secret" not in reason
