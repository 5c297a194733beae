"""How long a body is said to be, before it is read."""

from fastapi import Request


def declared_length(request: Request) -> int:
    """The Content-Length; 0 when there is none."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0
