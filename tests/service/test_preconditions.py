"""The lists of entity tags in If-Match and If-None-Match (RFC 9110, 8.8.3 and 13.1)."""

import pytest
from starlette.requests import Request

from contract.errors import ErrorCode, ServiceError
from service.entity_tags import tags
from service.preconditions import Preconditions

ETAG = '"1-5f"'


def sent(*lines: str) -> tuple[str, ...] | None:
    headers = [(b"if-match", line.encode()) for line in lines]
    return tags(Request({"type": "http", "headers": headers}), "if-match")


@pytest.mark.parametrize(
    ("lines", "listed"),
    [
        ((), None),
        (("",), ()),
        (("*",), ("*",)),
        ((ETAG,), (ETAG,)),
        ((f' "a" ,, W/{ETAG}', '"b"'), ('"a"', f"W/{ETAG}", '"b"')),
        (('"a,b", "*", "c d"',), ('"a,b"', '"*"', '"c d"')),
        (("W/*, a", "W/W/"), ("W/*", "a", "W/W/")),
        (('"a',), ('"a',)),
    ],
)
def test_tags_of_a_header_are_listed(lines: tuple[str, ...], listed: tuple[str, ...] | None) -> None:
    assert sent(*lines) == listed


@pytest.mark.parametrize(
    ("value", "fits"),
    [("*", True), (ETAG, True), (f'"a,b", {ETAG}', True)]
    + [(value, False) for value in (f"W/{ETAG}", "W/*", '"a", *', '"*"', "1-5f", f"W/W/{ETAG}", "")],
)
def test_only_that_tag_or_a_lone_star_fits(value: str, fits: bool) -> None:
    assert Preconditions(if_match=sent(value)).hold(ETAG) is fits


@pytest.mark.parametrize(
    ("value", "holds"),
    [('"a"', True), ('"a", W/"b,c"', True), ('"*"', True), ("", True)]
    + [(value, False) for value in ("*", ETAG, f"W/{ETAG}", f'"a,b",{ETAG}')]
    + [(value, False) for value in ("W/*", '"a", *', "a", '"a')],
    ids=repr,
)
def test_nothing_is_changed_if_the_client_has_it_or_what_it_has_cannot_be_read(
    value: str, holds: bool
) -> None:
    assert Preconditions(if_none_match=sent(value)).hold(ETAG) is holds


def test_star_says_that_the_client_has_only_what_is_there() -> None:
    has_any, has_it = Preconditions(if_none_match=sent("*")), Preconditions(if_none_match=sent(f"W/{ETAG}"))
    assert has_any.has(ETAG) and has_it.has(ETAG) and has_it.has(ETAG, is_there=False)
    assert not has_any.has(ETAG, is_there=False)
    assert not has_any.has(None)


def test_refusal_to_send_names_the_condition_that_failed_and_what_there_is() -> None:
    conditions = Preconditions(if_match=sent('"a"', f"W/{ETAG}"), if_none_match=sent('"b"'))
    with pytest.raises(ServiceError) as refusal:
        conditions.require(ETAG, "the file")
    assert refusal.value.code is ErrorCode.PRECONDITION_FAILED
    assert refusal.value.detail.startswith(f'If-Match is "a", W/{ETAG}, but the file has the ETag {ETAG}. ')
    Preconditions(if_match=sent(ETAG), if_none_match=sent('"b"')).require(ETAG, "the file")
