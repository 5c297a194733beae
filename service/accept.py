"""Content negotiation: which of the offered media types an Accept header likes best (RFC 9110, 12.5.1)."""

from collections.abc import Sequence

from starlette.requests import Request

from contract.errors import ErrorCode, ServiceError


def negotiate(request: Request, offered: Sequence[str]) -> str:
    """The best of `offered`, whose order breaks ties.

    Raises:
        ServiceError: `not_acceptable` when the client refuses all of them.
    """
    accepted = ",".join(request.headers.getlist("accept")) or "*/*"
    qualities = [_quality(accepted, media_type) for media_type in offered]
    best = max(qualities)
    if best > 0:
        return offered[qualities.index(best)]
    detail = f"Accept is {accepted[:100]!r}, but this can only be had as {' or '.join(offered)}."
    raise ServiceError(ErrorCode.NOT_ACCEPTABLE, detail)


def _quality(accepted: str, media_type: str) -> float:
    """The quality of the most specific range that covers a media type."""
    covering = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    found: dict[str, float] = {}
    for part in accepted.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        found[media_range] = next((_number(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    return next((found[media_range] for media_range in covering if media_range in found), 0.0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
