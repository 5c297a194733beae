"""Wraps a function or method of a module in another function."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

Around = Callable[..., Any]
"""Called with the original function and its arguments; the caller gets its return value."""


def surround(module: ModuleType, path: str, around: Around) -> None:
    """Make all later calls of `path` (`function` or `Class.method`) call `around`.

    Raises:
        AttributeError: the function no longer exists; the process ends, and the test with it.
    """
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, module)
    original = getattr(owner, name)

    @functools.wraps(original)
    def surrounding(*given: Any, **named: Any) -> Any:
        return around(original, *given, **named)

    setattr(owner, name, surrounding)
