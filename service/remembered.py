"""What may be a second old: read once, however many ask, and then known without a trip to Redis.

A digest means the same generator for as long as its job lives, and the renderer changes only when samplers of
another kind take over. What can be stale is that the job still lives: what this process deletes it forgets
before it says so; what another deletes, within a second. Aliases can be moved, and are never remembered.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

from service.sharing import Sharing

T = TypeVar("T")

REMEMBERED_SECONDS = 1.0
_MOST = 4096


class Remembered:
    """Answers by question, each from not longer than a second ago. Refusals and None are not remembered."""

    def __init__(self, shared: Sharing) -> None:
        self._shared = shared
        self._known: dict[Hashable, tuple[float, object]] = {}
        self._forgettings = 0

    def knows(self, question: Hashable) -> bool:
        """Whether `ask` answers at once."""
        return self._find(question) is not None

    async def ask(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """The answer of `read`; its exceptions too. Equal questions must read the same."""
        known = self._find(question)
        if known is not None:
            return cast("T", known)
        return await self._shared.ask(("remembered", question), lambda: self._learn(question, read))

    def forget(self) -> None:
        """Nothing that was read or asked for before this call is remembered after it."""
        self._known.clear()
        self._forgettings += 1

    def _find(self, question: Hashable) -> object:
        read_at, answer = self._known.get(question, (0.0, None))
        return answer if time.monotonic() - read_at < REMEMBERED_SECONDS else None

    async def _learn(self, question: Hashable, read: Callable[[], Awaitable[Any]]) -> Any:
        began, forgettings = time.monotonic(), self._forgettings
        answer = await read()
        if answer is not None and forgettings == self._forgettings:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[question] = (began, answer)
        return answer
