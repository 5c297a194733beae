"""What clients may keep, and whether they say that they have it (RFC 9110, 13.1; RFC 9111)."""

from fastapi import Request

PINNED = "public, max-age=31536000, immutable"
"""`Cache-Control` of an address whose answer never changes."""


def client_has(request: Request, etag: str) -> bool:
    """Whether its `If-None-Match` names what has this ETag, in the weak comparison."""
    return is_among(etag, tags(request, "if-none-match") or ())


def is_among(etag: str, listed: tuple[str, ...]) -> bool:
    """Whether an entity tag is one of these, or anything is."""
    return any(one.removeprefix("W/") in (etag, "*") for one in listed)


def tags(request: Request, name: str) -> tuple[str, ...] | None:
    """The entity tags of a header, which may come in several lines; none of ours holds a comma."""
    lines = request.headers.getlist(name)
    return tuple(tag.strip() for tag in ",".join(lines).split(",")) if lines else None
