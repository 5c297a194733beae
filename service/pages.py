"""Cursor pagination: the parameters of lists, and the link to the next page."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Response
from pydantic import Field, ValidationError

from contract.identifiers import CURSOR_PATTERN
from contract.plugin import Frozen
from service.store import Cursor, Standing

T = TypeVar("T")
MAX_LIMIT = 200

logger = logging.getLogger(__name__)


class ListQuery(Frozen):
    """The parameters of every list."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Entries per page.")
    cursor: str | None = Field(
        None,
        pattern=CURSOR_PATTERN,
        description="From `next` of the previous page; opaque.",
    )

    @property
    def after(self) -> Cursor | None:
        return Cursor.parse(self.cursor) if self.cursor else None


def readable(view: Callable[[Standing], T], standings: Iterable[Standing]) -> Iterator[T]:
    """Yield the views of a page, skipping records of another version that this one cannot read."""
    for standing in standings:
        try:
            yield view(standing)
        except ValidationError as error:
            logger.warning(
                "%s is in no list: this version cannot read its spec: %s", standing.record.id, error
            )


def link_next(
    response: Response, path: str, following: Cursor | None, **parameters: str | None
) -> str | None:
    """Return the URL of the next page, and set it as `Link` header (RFC 8288); None if there is none."""
    if following is None:
        return None
    chosen = {name: value for name, value in parameters.items() if value is not None}
    address = f"{path}?{urlencode({**chosen, 'cursor': str(following)})}"
    response.headers["Link"] = f'<{address}>; rel="next"'
    return address
