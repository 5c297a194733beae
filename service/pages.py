"""Cursor pagination: how far a list has been read, and the address of what follows."""

from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi import Response
from pydantic import Field

from contract.plugin import Frozen
from service.store import Standing

MAX_LIMIT = 200


class ListQuery(Frozen):
    """What every list takes."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Entries a page.")
    cursor: str | None = Field(
        None, pattern=r"^[0-9]{1,19}$", description="From `next` of the page before; opaque."
    )

    @property
    def before_us(self) -> int | None:
        return int(self.cursor) if self.cursor else None


def cut(standings: Sequence[Standing], limit: int) -> tuple[Sequence[Standing], str | None]:
    """The page, and the cursor of the next one. `standings` was read one longer, to know if there is one."""
    shown = standings[:limit]
    return shown, str(shown[-1].record.created_us) if len(standings) > limit else None


def link_next(response: Response, path: str, parameters: dict[str, str | None]) -> str | None:
    """The address of the next page, also as a `Link` header (RFC 8288); None without a cursor."""
    if parameters["cursor"] is None:
        return None
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    address = f"{path}?{query}"
    response.headers["Link"] = f'<{address}>; rel="next"'
    return address
