"""Concurrent callers with the same question share one answer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class SingleFlight:
    """Limits any number of callers to two reads: one under way, and the next for those who called since.

    No caller gets an answer whose read began before its call: it could lack what woke the caller.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of `read`, or raise its exception. Equal questions must read the same."""
        task = self._next.get(question)
        if task is None:
            task = self._next[question] = asyncio.create_task(self._read(question, read))
            task.add_done_callback(_look_at)
        return cast("T", await asyncio.shield(task))  # a cancelled caller does not cancel it for the others

    async def _read(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        if before := self._under_way.get(question):
            await asyncio.wait([before])
        task = self._under_way[question] = self._next.pop(question)
        try:
            return await read()
        finally:
            if self._under_way.get(question) is task:
                del self._under_way[question]


def _look_at(done: asyncio.Task[Any]) -> None:
    if not done.cancelled():
        done.exception()  # retrieve it, as every caller may have left
