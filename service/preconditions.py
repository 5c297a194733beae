"""Conditional requests, by `If-Match` and `If-None-Match` (RFC 9110, 13.1)."""

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Header, Request

from contract.errors import ErrorCode, ServiceError
from contract.plugin import Frozen
from service.entity_tags import ANY, UNTAGGED, are_valid, is_among, tags

_MAX_SHOWN = 100


@dataclass(frozen=True)
class Preconditions:
    """The conditions for carrying out a request; None for a header that was not sent."""

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        return cls(tags(request, "if-match"), tags(request, "if-none-match"))

    @property
    def are_given(self) -> bool:
        return self != Preconditions()

    def require(self, etag: str, what: str, *, current: Frozen | None = None) -> None:
        """Check `If-Match` before sending what has this ETag, or `UNTAGGED`; `current` goes into the refusal.

        Raises:
            ServiceError: `precondition_failed`.
        """
        if self.fit(etag):
            return
        wanted = Preconditions(if_match=self.if_match)
        has = etag if etag == UNTAGGED else f"the ETag {etag}"
        detail = f"{wanted}, but {what} has {has}. Leave If-Match out to get it, whatever it is."
        raise ServiceError(ErrorCode.PRECONDITION_FAILED, detail, current=current)

    def hold(self, etag: str | None) -> bool:
        """Whether a resource with this ETag may be changed; None: it does not exist.

        Not if `If-None-Match` is malformed: whoever sent it wanted to protect something.
        """
        return self.fit(etag) and not self.has(etag) and are_valid(self.if_none_match or ())

    def fit(self, etag: str | None) -> bool:
        """Whether `If-Match` is absent or matches this ETag, by strong comparison."""
        listed = self.if_match
        return listed is None or (etag is not None and (listed == ANY or etag in listed))

    def has(self, etag: str | None, *, is_there: bool = True) -> bool:
        """Whether `If-None-Match` says that the client already has this; `*` does only if it is there."""
        listed = self.if_none_match or ()
        return etag is not None and is_among(etag, listed) and (is_there or listed != ANY)

    def __str__(self) -> str:
        given = {"If-Match": self.if_match, "If-None-Match": self.if_none_match}
        return " and ".join(
            f"{name} is {', '.join(listed)[:_MAX_SHOWN]}"
            for name, listed in given.items()
            if listed is not None
        )


async def _read(
    request: Request,
    if_match: Annotated[  # noqa: ARG001 — for the OpenAPI document; a header may span several lines
        str | None, Header(description="Only if this is its `ETag` now; `*`: only if there is one.")
    ] = None,
    if_none_match: Annotated[  # noqa: ARG001
        str | None, Header(description="`*`: only if there is none yet. With GET: answer 304 if this is it.")
    ] = None,
) -> Preconditions:
    return Preconditions.of(request)


Conditions = Annotated[Preconditions, Depends(_read)]
