"""The header by which a client may repeat a request that creates a job."""

from typing import Annotated

from fastapi import Depends, Header, Request

from contract.identifiers import PRINTABLE_ASCII
from service.refusals import parameter_error

_NAME = "Idempotency-Key"


async def _the_only_one(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=_NAME,
            min_length=1,
            max_length=255,
            pattern=PRINTABLE_ASCII,
            description="Chosen by you, one for each job: the same request sent again answers with the job"
            " that it made, instead of making another.",
            examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
        ),
    ] = None,
) -> str | None:
    """The key; several are refused, since the job could be found again by only one of them."""
    times = len(request.headers.getlist(_NAME))
    if times > 1:
        raise parameter_error(_NAME, f"{_NAME} is given {times} times; give it only once.")
    return key


IdempotencyKey = Annotated[str | None, Depends(_the_only_one)]
