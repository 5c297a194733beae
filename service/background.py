"""Work that goes on after a request has been answered, or without one; it ends with the gateway."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from service.settling import until_settled

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Background:
    """The coroutines that run beside the requests."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self._settling: set[str] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a coroutine. If it fails, that is logged."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._has_ended)
        return task

    def settle(
        self, name: str, attempt: Callable[[], Awaitable[bool]], *also_broken_by: type[Exception]
    ) -> None:
        """Call `attempt` until it returns True, unless that is going on under this name.

        Whoever holds the lock that `attempt` takes can be sure that it still looks at what he did.
        """

        async def settle() -> None:
            try:
                await until_settled(attempt, *also_broken_by)
            finally:  # before anybody else can take the lock
                self._settling.discard(name)

        if name not in self._settling:
            self._settling.add(name)
            self.run(settle())

    async def stop(self) -> None:
        """Cancel everything, and wait for its end."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _has_ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("work in the background failed", exc_info=error)
