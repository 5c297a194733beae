"""Readers who ask the same at the same time share one answer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class SingleFlight:
    """Any number of callers cost two reads at a time: one under way, and one to follow it for who came since.

    Nobody is given an answer that was being read before they asked: it could lack what they were woken for.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """The answer of `read`, by whoever's call; its exceptions too. Equal questions must read the same."""
        task = self._next.get(question)
        if task is None:
            task = self._next[question] = asyncio.create_task(self._read(question, read))
            task.add_done_callback(_look_at)
        return cast("T", await asyncio.shield(task))  # who leaves does not take it from the others

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
        done.exception()  # everyone may have left: then nobody else looks at it
