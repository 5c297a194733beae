"""Content negotiation: picks the offered media type that the Accept header prefers (RFC 9110, 12.5.1)."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from starlette.requests import Request

from contract.errors import ErrorCode, ServiceError

_MOST_CHARACTERS = 4096
"""Of a header; browsers send some 150. A longer one would take long to parse, and stay in the cache."""
_QUALITY = re.compile(r"0?\.[0-9]{1,3}|0\.?|1(\.0{0,3})?")


def negotiate(request: Request, offered: Collection[str]) -> str:
    """Return the best of `offered`; of equals, the first.

    Raises:
        ServiceError: `not_acceptable` if the client accepts none of them, or the header is very long.
    """
    accepted = ",".join(request.headers.getlist("accept"))
    if len(accepted) > _MOST_CHARACTERS:
        detail = f"Accept exceeds the limit of {_MOST_CHARACTERS:,} characters; ask for {_listed(offered)}."
        raise ServiceError(ErrorCode.NOT_ACCEPTABLE, detail)
    best = _best(accepted, tuple(offered))
    if best is None:
        detail = f"Accept is {accepted[:100]!r}, but this is only available as {_listed(offered)}."
        raise ServiceError(ErrorCode.NOT_ACCEPTABLE, detail)
    return best


@lru_cache(maxsize=256)
def _best(accepted: str, offered: tuple[str, ...]) -> str | None:
    """Cached, because clients send few different headers."""
    ranges = _ranges(accepted)
    qualities = {media_type: _quality(ranges, media_type) for media_type in offered}
    best = max(qualities, key=qualities.__getitem__)  # the first of equals
    return best if qualities[best] > 0 else None


def _listed(offered: Iterable[str]) -> str:
    *all_but_last, last = offered
    return f"{', '.join(all_but_last)} or {last}" if all_but_last else last


def _ranges(accepted: str) -> dict[str, float]:
    """Map each media range to its quality; of duplicates, the last counts. Without any, everything will do.

    No offer has parameters, so those of a range are ignored, unless it is listed without them too.
    """
    plain: dict[str, float] = {}
    narrower: dict[str, float] = {}
    for element in filter(None, map(str.strip, accepted.split(","))):
        media_range, *parameters = (piece.strip().lower() for piece in element.split(";"))
        weights = [_number(one[2:]) for one in parameters if one.startswith("q=")]
        found = narrower if len(parameters) > len(weights) else plain
        found[media_range] = weights[0] if weights else 1.0
    return narrower | plain or {"*/*": 1.0}


def _quality(ranges: dict[str, float], media_type: str) -> float:
    """The quality of the most specific range that covers a media type."""
    covering = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((ranges[media_range] for media_range in covering if media_range in ranges), 0.0)


def _number(text: str) -> float:
    """Parse a weight, even without its leading zero; an invalid one counts as 1."""
    return float(text) if _QUALITY.fullmatch(text) else 1.0
