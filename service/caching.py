"""HTTP caching: what clients may cache, and what they report to have (RFC 9110, 13.1; RFC 9111)."""

from fastapi import Request

PINNED = "public, max-age=31536000, immutable"
"""`Cache-Control` of a URL whose response never changes."""


def client_has(request: Request, etag: str, *, is_there: bool) -> bool:
    """Whether `If-None-Match` matches this ETag, by weak comparison; `*` does if it exists."""
    listed = tags(request, "if-none-match") or ()
    return is_among(etag, listed) and (is_there or "*" not in listed)


def is_among(etag: str, listed: tuple[str, ...]) -> bool:
    """Whether the list has this entity tag, or `*`."""
    return any(one.removeprefix("W/") in (etag, "*") for one in listed)


def tags(request: Request, name: str) -> tuple[str, ...] | None:
    """The entity tags of a header, which may span several lines; none of ours contains a comma."""
    lines = request.headers.getlist(name)
    return tuple(tag.strip() for tag in ",".join(lines).split(",")) if lines else None
