"""`If-Match` and `If-None-Match`: only of what the client has seen, or has not (RFC 9110, 13.1)."""

from typing import Annotated

from fastapi import Depends, Header, Request

from contract.plugin import Frozen
from service.caching import is_among, tags

_MAX_SHOWN = 100


class Preconditions(Frozen):
    """What must hold for a request to be carried out; None where nothing was asked for."""

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None

    def hold(self, etag: str | None) -> bool:
        """Whether what has this ETag, or does not exist, may be changed."""
        return self.fit(etag) and not self.has(etag)

    def fit(self, etag: str | None) -> bool:
        """Whether this is what `If-Match` asks for, in the strong comparison, or it asks for nothing."""
        return self.if_match is None or (etag is not None and bool({"*", etag} & {*self.if_match}))

    def has(self, etag: str | None) -> bool:
        """Whether the client says that it has this already."""
        return etag is not None and is_among(etag, self.if_none_match or ())

    def __str__(self) -> str:
        given = {"If-Match": self.if_match, "If-None-Match": self.if_none_match}
        told = [
            f"{name} is {', '.join(tags)[:_MAX_SHOWN]}" for name, tags in given.items() if tags is not None
        ]
        return " and ".join(told)


async def _read(
    request: Request,
    if_match: Annotated[  # noqa: ARG001 — so that the document has them; a header may come in several lines
        str | None, Header(description="Only if this is its `ETag` now; `*`: only if there is one.")
    ] = None,
    if_none_match: Annotated[  # noqa: ARG001
        str | None, Header(description="`*`: only if there is none yet. With GET: answer 304 if this is it.")
    ] = None,
) -> Preconditions:
    return Preconditions(if_match=tags(request, "if-match"), if_none_match=tags(request, "if-none-match"))


Conditions = Annotated[Preconditions, Depends(_read)]
