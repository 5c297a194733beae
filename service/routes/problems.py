"""Explains the error codes; the `type` of a problem is a URL here."""

from typing import Annotated

from fastapi import APIRouter, Path

from contract.errors import ErrorCode, ServiceError
from contract.plugin import Frozen
from service.openapi import problems
from service.problems import MEANINGS, problem_type

router = APIRouter(tags=["problems"])


class ProblemKind(Frozen):
    """A kind of refusal."""

    type: str
    code: ErrorCode
    status: int
    title: str
    retryable: bool


@router.get(
    "/problems",
    response_model=tuple[ProblemKind, ...],
    operation_id="listProblems",
    summary="List every kind of refusal",
    responses=problems(),
)
async def list_problems() -> tuple[ProblemKind, ...]:
    """Returns the stable codes, each with its HTTP status."""
    return tuple(_kind(code) for code in ErrorCode)


@router.get(
    "/problems/{code}",
    response_model=ProblemKind,
    operation_id="getProblem",
    summary="Explain a kind of refusal",
    responses=problems(ErrorCode.NOT_FOUND),
)
async def get_problem(code: Annotated[str, Path(description="The stable code.")]) -> ProblemKind:
    """The `type` of a problem is this URL."""
    if code not in set(ErrorCode):
        detail = f"There is no kind of refusal {code[:80]!r}; GET /problems lists all."
        raise ServiceError(ErrorCode.NOT_FOUND, detail)
    return _kind(ErrorCode(code))


def _kind(code: ErrorCode) -> ProblemKind:
    meaning = MEANINGS[code]
    return ProblemKind(
        type=problem_type(code),
        code=code,
        status=meaning.status,
        title=meaning.title,
        retryable=meaning.retryable,
    )
