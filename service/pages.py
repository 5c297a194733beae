"""Cursor pagination: how far a list has been read, and the address of what follows."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Response
from pydantic import Field, ValidationError

from contract.plugin import Frozen
from service.store import Standing

T = TypeVar("T")
MAX_LIMIT = 200

log = logging.getLogger(__name__)


class ListQuery(Frozen):
    """What every list takes."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Entries per page.")
    cursor: str | None = Field(
        None, pattern=r"^[0-9]{1,19}$", description="From `next` of the previous page; opaque."
    )

    @property
    def before_us(self) -> int | None:
        return int(self.cursor) if self.cursor else None


def readable(view: Callable[[Standing], T], standings: Iterable[Standing]) -> Iterator[T]:
    """The views of a page, but for those of records that another version has written and this cannot read."""
    for standing in standings:
        try:
            yield view(standing)
        except ValidationError as error:
            log.warning("%s is in no list: this version cannot read its spec: %s", standing.record.id, error)


def link_next(response: Response, path: str, next_us: int | None, **parameters: str | None) -> str | None:
    """The address of the page that follows at this cursor, also as a `Link` header (RFC 8288)."""
    if next_us is None:
        return None
    chosen = {name: value for name, value in parameters.items() if value is not None}
    address = f"{path}?{urlencode({**chosen, 'cursor': next_us})}"
    response.headers["Link"] = f'<{address}>; rel="next"'
    return address
