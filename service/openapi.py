"""Describes refusals and files in the OpenAPI document."""

from collections import defaultdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from contract.errors import ErrorCode, ServiceError
from service.problems import MEANINGS, PROBLEM_JSON, Problem, problem

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
"""The content of a body that is not text."""

_ANY = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.FOREIGN_HOST,
)
_READS = (
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.VOLUME_FAILING,
    ErrorCode.INTERNAL,
)
_WRITES = (
    ErrorCode.FOREIGN_ORIGIN,
    ErrorCode.STORE_FULL,
    ErrorCode.VOLUME_FULL,
    ErrorCode.VOLUME_READ_ONLY,
)


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that neither reads nor changes records: these errors, and those of any route."""
    by_status: defaultdict[int, list[ErrorCode]] = defaultdict(list)
    for code in dict.fromkeys((*codes, *_ANY)):
        by_status[MEANINGS[code].status].append(code)
    return {status: _response(by_status[status]) for status in sorted(by_status)}


def read_problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that reads."""
    return problems(*codes, *_READS)


def write_problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that changes something."""
    return read_problems(*codes, *_WRITES)


def _response(codes: list[ErrorCode]) -> dict[str, Any]:
    examples = {str(code): {"value": _example(code)} for code in codes}
    return {
        "description": "; ".join(f"{MEANINGS[code].title} (`{code}`)" for code in codes),
        "content": {
            PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples},
        },
    }


def _example(code: ErrorCode) -> dict[str, Any]:
    detail = f"{MEANINGS[code].title}; this sentence names the value, what is allowed and what to do."
    return problem(ServiceError(code, detail)).model_dump(mode="json")


def describe(app: FastAPI) -> dict[str, Any]:
    """Build the document, once, with the schema of problems that the routes refer to."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            webhooks=app.webhooks.routes,
        )
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(schema.pop("$defs", {}))
        schemas["Problem"] = schema
        _remove_default_errors(document)
        app.openapi_schema = document
    return app.openapi_schema


def _remove_default_errors(document: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI adds by default, even where no parameter can be invalid."""
    for operations in (*document["paths"].values(), *document["webhooks"].values()):
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
