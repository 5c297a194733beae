"""HTTP caching: what clients may cache, and what they report to have (RFC 9110, 13.1; RFC 9111)."""

import re

from fastapi import Request

PINNED = "public, max-age=31536000, immutable"
"""`Cache-Control` of a URL whose response never changes."""


ANY = ("*",)
"""What a condition lists if it is `*`."""
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_LISTED = re.compile(rf"{_TAG.pattern}|[^,\s]+")


def client_has(request: Request, etag: str, *, is_there: bool) -> bool:
    """Whether `If-None-Match` matches this ETag, by weak comparison; `*` does if it exists."""
    listed = tags(request, "if-none-match") or ()
    return is_among(etag, listed) and (is_there or listed != ANY)


def is_among(etag: str, listed: tuple[str, ...]) -> bool:
    """Whether the list has this entity tag, or is `*`."""
    return listed == ANY or any(one.removeprefix("W/") == etag for one in listed)


def are_valid(listed: tuple[str, ...]) -> bool:
    """Whether this is `*`, or a list of entity tags. Whatever else is in a list matches nothing."""
    return listed == ANY or all(_TAG.fullmatch(one) for one in listed)


def tags(request: Request, name: str) -> tuple[str, ...] | None:
    """The entity tags of a header, which may span several lines, and anything else that it lists."""
    lines = request.headers.getlist(name)
    return tuple(_LISTED.findall(",".join(lines))) if lines else None
