"""Rejects what a route would ignore: parameters that it does not declare, a body that it does not accept.

Routes whose parameters are a model reject undeclared ones through that model.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from contract.errors import FieldError
from service.body_length import declared_length
from service.refusals import MOST_FIELDS, fields_error, parameter_error

_SHOWN_CHARACTERS = 80
_MOST_PARAMETERS = 64
_MOST_NAMES = 256
"""In a body; the largest valid one has about a hundred. Thousands of errors would block the event loop."""
_MOST_OBJECTS_LISTED = 64
"""Any list of objects longer than this is invalid, and rejected without validating the rest."""


async def refuse_undeclared(request: Request) -> None:
    """Reject undeclared input; a dependency of every route.

    Raises:
        ServiceError: `invalid_request`.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    if request.scope["query_string"]:
        _refuse_many(request)
        _refuse_repetition(request)
        _refuse_parameters(request, route)
    if request.method in ("GET", "HEAD"):
        return
    if route.body_field is not None:
        await _refuse_sprawl(request)
    elif not _reads_its_body(route) and _has_body(request):
        detail = f"{request.method} {route.path_format} does not accept a body; send it without one."
        raise parameter_error("", detail)


def _refuse_many(request: Request) -> None:
    """Reject them before each becomes an error of its own: thousands would block the event loop."""
    given = len(request.query_params)
    if given > _MOST_PARAMETERS:
        detail = f"The address has {given} parameters; send only those that /docs lists."
        raise parameter_error("", detail)


def _refuse_repetition(request: Request) -> None:
    """Reject repeated parameters: no route takes lists, and programs differ in which value they use."""
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1:
            shown = name[:_SHOWN_CHARACTERS]
            raise parameter_error(shown, f"{shown} is given {times} times; give it only once.")


def _refuse_parameters(request: Request, route: APIRoute) -> None:
    declared = dict(_declared(route.dependant))
    if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in declared.values()):
        return
    unknown = [name for name in request.query_params if name not in declared]
    if not unknown:
        return
    known = f"use {', '.join(sorted(declared))}" if declared else "this address has no parameters"
    fields = [
        FieldError(name[:_SHOWN_CHARACTERS], f"{name[:_SHOWN_CHARACTERS]} is not a known parameter; {known}.")
        for name in unknown[:MOST_FIELDS]
    ]
    raise fields_error(fields, len(unknown))


def _declared(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    for field in dependant.query_params:
        yield field.alias, field.field_info.annotation
    for dependency in dependant.dependencies:
        yield from _declared(dependency)


async def _refuse_sprawl(request: Request) -> None:
    """Reject a body with too many fields. FastAPI has read it by now, but not yet validated it."""
    if "json" not in request.headers.get("content-type", ""):
        return
    with suppress(ValueError, RecursionError):  # FastAPI does not read this type as JSON, and rejects it
        if _names(await request.json()) > _MOST_NAMES:
            detail = f"The body has more than {_MOST_NAMES} fields; send only those that /docs lists."
            raise parameter_error("", detail)


def _names(body: object) -> int:
    """The number of fields in a body, nested ones included, or some number above the limit."""
    found, left = 0, [body]
    while left and found <= _MOST_NAMES:
        value = left.pop()
        if isinstance(value, dict):
            found += len(value)
            left.extend(value.values() if found <= _MOST_NAMES else ())
        elif isinstance(value, list):
            left.extend(one for one in value[:_MOST_OBJECTS_LISTED] if isinstance(one, dict | list))
    return found


def _reads_its_body(route: APIRoute) -> bool:
    return "requestBody" in (route.openapi_extra or {})


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or declared_length(request) > 0
