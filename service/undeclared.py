"""What a request says that its route would ignore: parameters it does not declare, a body it does not take.

Routes whose parameters are a model refuse the others by that.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from contract.errors import ErrorCode, FieldError, ServiceError
from service.errors import declared_length, parameter_error

_MOST_FIELDS = 32
_SHOWN_CHARACTERS = 80


async def refuse_undeclared(request: Request) -> None:
    """A dependency of every route.

    Raises:
        ServiceError: `invalid_request`.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    if request.scope["query_string"]:
        _refuse_repetition(request)
        _refuse_parameters(request, route)
    if request.method not in ("GET", "HEAD") and not _takes_body(route) and _has_body(request):
        detail = f"{request.method} {route.path_format} takes no body; send it without one."
        raise parameter_error("", detail)


def _refuse_repetition(request: Request) -> None:
    """Of what comes twice only one can be heeded, and others would heed the other; no route takes lists."""
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1:
            shown = name[:_SHOWN_CHARACTERS]
            raise parameter_error(shown, f"{shown} is given {times} times; give it once.")


def _refuse_parameters(request: Request, route: APIRoute) -> None:
    declared = dict(_declared(route.dependant))
    if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in declared.values()):
        return
    unknown = [name for name in request.query_params if name not in declared]
    if not unknown:
        return
    known = f"there are {', '.join(sorted(declared))}" if declared else "there are no parameters here"
    fields = tuple(
        FieldError(name[:_SHOWN_CHARACTERS], f"{name[:_SHOWN_CHARACTERS]} is not known here; {known}.")
        for name in unknown[:_MOST_FIELDS]
    )
    detail = fields[0].detail + (f" ({len(unknown) - 1} more in errors.)" if len(unknown) > 1 else "")
    raise ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=fields)


def _declared(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    for field in dependant.query_params:
        yield field.alias, field.field_info.annotation
    for dependency in dependant.dependencies:
        yield from _declared(dependency)


def _takes_body(route: APIRoute) -> bool:
    return route.body_field is not None or "requestBody" in (route.openapi_extra or {})


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or declared_length(request) > 0
