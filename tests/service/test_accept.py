"""Content negotiation by RFC 9110."""

import pytest
from starlette.requests import Request

from contract.errors import ServiceError
from contract.formats import FORMS
from service.accept import _best, negotiate

OFFERED = ("text/event-stream", "application/json")


def choose(accept: str | None) -> str:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return negotiate(Request({"type": "http", "headers": headers}), OFFERED)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("Application/JSON; q=0.9, */*; q=0.1", "application/json"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
        ("text/event-stream;q=0, */*", "application/json"),
        ("text/html, application/json;q=0.1", "application/json"),
        ("text/event-stream;q=.5, application/json;q=.6", "application/json"),
        ("text/event-stream;q=.5, application/json;q=0.4", "text/event-stream"),
        ("text/event-stream;q=0.9, application/json;q=1.0000", "application/json"),
        ("text/event-stream;q=0.9, application/json;q=nan", "application/json"),
        ("text/event-stream;q=0.9, application/json;q=", "application/json"),
        ("*/*;q=2", "text/event-stream"),
        ("*/*;q=-1", "text/event-stream"),
        ("text/event-stream;q=0.999, application/json;q=1.000", "application/json"),
        ("", "text/event-stream"),
        (" , ,", "text/event-stream"),
        (", application/json,,", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("application/json, application/json;indent=4;q=0", "application/json"),
        ("application/json;indent=4, application/json;q=0, */*", "text/event-stream"),
    ],
)
def test_best_offered_media_type_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose(accept) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/png"),
        ("text/html,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8", "image/webp"),
    ],
    ids=["<img>", "address"],
)
def test_chrome_gets_a_png_for_an_img_and_webp_for_an_address(accept: str, chosen: str) -> None:
    assert _best(accept, tuple(form.media_type for form in FORMS.values())) == chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "application/json;q=.0", "image/*", ";q=1", "x;q=y"]
)
def test_accept_header_that_excludes_every_offer_is_refused(accept: str) -> None:
    with pytest.raises(ServiceError, match="application/json"):
        choose(accept)


def test_very_long_accept_header_is_refused_and_not_cached() -> None:
    longest = "text/html," * 406 + "application/json"
    assert choose(longest + " " * (4096 - len(longest))) == "application/json"
    before = _best.cache_info().misses
    with pytest.raises(ServiceError, match=r"4,096 .* text/event-stream or application/json"):
        choose(longest + " " * (4097 - len(longest)))
    assert _best.cache_info().misses == before
