"""Conditional requests, by `If-Match` and `If-None-Match` (RFC 9110, 13.1)."""

from typing import Annotated

from fastapi import Depends, Header, Request

from contract.errors import ErrorCode, ServiceError
from contract.plugin import Frozen
from service.caching import ANY, are_valid, is_among, tags

_MAX_SHOWN = 100


class Preconditions(Frozen):
    """The conditions for carrying out a request; None for a header that was not sent."""

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None

    @property
    def are_given(self) -> bool:
        return self != Preconditions()

    def hold(self, etag: str | None) -> bool:
        """Whether a resource with this ETag may be changed; None: it does not exist.

        Not if `If-None-Match` is malformed: whoever sent it wanted to protect something.
        """
        return self.fit(etag) and not self.has(etag) and are_valid(self.if_none_match or ())

    def fit(self, etag: str | None) -> bool:
        """Whether `If-Match` is absent or matches this ETag, by strong comparison."""
        listed = self.if_match
        return listed is None or (etag is not None and (listed == ANY or etag in listed))

    def has(self, etag: str | None) -> bool:
        """Whether `If-None-Match` says that the client already has this."""
        return etag is not None and is_among(etag, self.if_none_match or ())

    def __str__(self) -> str:
        given = {"If-Match": self.if_match, "If-None-Match": self.if_none_match}
        told = [
            f"{name} is {', '.join(tags)[:_MAX_SHOWN]}" for name, tags in given.items() if tags is not None
        ]
        return " and ".join(told)


def require_match(request: Request, etag: str) -> None:
    """Check `If-Match` of a request for the representation that has this ETag.

    Raises:
        ServiceError: `precondition_failed`.
    """
    listed = tags(request, "if-match")
    if listed is None or (wanted := Preconditions(if_match=listed)).fit(etag):
        return
    detail = f"{wanted}, but the ETag is {etag}. Leave If-Match out to get it, whatever it is."
    raise ServiceError(ErrorCode.PRECONDITION_FAILED, detail)


async def _read(
    request: Request,
    if_match: Annotated[  # noqa: ARG001 — for the OpenAPI document; a header may span several lines
        str | None, Header(description="Only if this is its `ETag` now; `*`: only if there is one.")
    ] = None,
    if_none_match: Annotated[  # noqa: ARG001
        str | None, Header(description="`*`: only if there is none yet. With GET: answer 304 if this is it.")
    ] = None,
) -> Preconditions:
    return Preconditions(if_match=tags(request, "if-match"), if_none_match=tags(request, "if-none-match"))


Conditions = Annotated[Preconditions, Depends(_read)]
