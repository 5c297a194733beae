"""Puts a function around another one, wherever that is defined."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

Around = Callable[..., Any]
"""Called with the original function and what that is called with; its answer is the caller's."""


def surround(module: ModuleType, path: str, around: Around) -> None:
    """From now on, whoever calls `path` (`function` or `Class.method`) calls `around`.

    Raises:
        AttributeError: there is no such function any more: the process ends, and the test with it.
    """
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, module)
    original = getattr(owner, name)

    @functools.wraps(original)
    def surrounding(*given: Any, **named: Any) -> Any:
        return around(original, *given, **named)

    setattr(owner, name, surrounding)
