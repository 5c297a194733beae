"""The OpenAPI document, built once for all modules that take their cases from it."""

from functools import cache
from typing import Any

from service.app import create_app
from service.settings import Settings


@cache
def openapi() -> dict[str, Any]:
    """Not to be changed."""
    return create_app(Settings()).openapi()
