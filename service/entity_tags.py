"""The entity tags that `If-Match` and `If-None-Match` list (RFC 9110, 8.8.3 and 13.1)."""

import re

from fastapi import Request

ANY = ("*",)
"""What a condition lists if it is `*`."""
UNTAGGED = "no ETag"
"""The tag of what is there and has none: only `*` covers it, since nothing that is listed has a space."""
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_LISTED = re.compile(rf"{_TAG.pattern}|[^,\s]+")


def tags(request: Request, name: str) -> tuple[str, ...] | None:
    """The entity tags of a header, which may span several lines, and anything else that it lists."""
    lines = request.headers.getlist(name)
    return tuple(_LISTED.findall(",".join(lines))) if lines else None


def is_among(etag: str, listed: tuple[str, ...]) -> bool:
    """Whether the list has this entity tag, by weak comparison, or is `*`."""
    return listed == ANY or any(one.removeprefix("W/") == etag for one in listed)


def are_valid(listed: tuple[str, ...]) -> bool:
    """Whether this is `*`, or a list of entity tags. Whatever else is in a list matches nothing."""
    return listed == ANY or all(_TAG.fullmatch(one) for one in listed)
