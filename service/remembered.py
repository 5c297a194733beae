"""A cache of facts that may be a second old. Concurrent callers share one read from Redis.

A digest means the same generator for as long as its job exists, and the renderer changes only when samplers
of another kind take over. Only the job's existence can be stale: this process forgets what it deletes before
it confirms the deletion, and what another process deletes, within a second, or as soon as a sampler does not
find the file. Aliases can move, so they are never cached.

Under pressure, when no request may wait for Redis, entries are served for up to half a minute, and refreshed
in the background (stale-while-revalidate).
"""

import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar, cast

from redis import RedisError

from contract.errors import ServiceError
from service.single_flight import SingleFlight

T = TypeVar("T")

REMEMBERED_SECONDS = 1.0
UNDER_PRESSURE_SECONDS = 30.0
_MOST = 4096


class Remembered:
    """Caches answers by question, for as long as described above. Errors and None are not cached."""

    def __init__(
        self,
        shared: SingleFlight,
        is_pressed: Callable[[], bool],
        later: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`later` runs a coroutine in the background."""
        self._shared = shared
        self._is_pressed = is_pressed
        self._later = later
        self._renewing: set[Hashable] = set()
        self._known: dict[Hashable, tuple[float, object]] = {}
        self._forgettings = 0

    def knows(self, question: Hashable) -> bool:
        """Whether `ask` answers from the cache."""
        return self._find(question) is not None

    async def ask(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return the cached answer, or else that of `read`, whose exceptions propagate.

        Equal questions must read the same.
        """
        known = self._find(question)
        if known is not None:
            if self._age(question) >= REMEMBERED_SECONDS and question not in self._renewing:
                self._renewing.add(question)
                self._later(self._renew(question, read))
            return cast("T", known)
        return await self._shared.ask(("remembered", question), lambda: self._learn(question, read))

    def forget(self) -> None:
        """Clear the cache; reads that began before this call are not cached either."""
        self._known.clear()
        self._forgettings += 1

    def doubt(self, question: Hashable) -> None:
        """Drop the cached answer to this question, which turned out to be wrong, so that it is read anew."""
        self._known.pop(question, None)

    def _find(self, question: Hashable) -> object:
        age = self._age(question)
        if age < REMEMBERED_SECONDS or (age < UNDER_PRESSURE_SECONDS and self._is_pressed()):
            return self._known[question][1]
        return None

    def _age(self, question: Hashable) -> float:
        return time.monotonic() - self._known[question][0] if question in self._known else math.inf

    async def _renew(self, question: Hashable, read: Callable[[], Awaitable[object]]) -> None:
        try:
            await self._shared.ask(("remembered", question), lambda: self._learn(question, read))
        except ServiceError:
            self._known.pop(question, None)  # it is gone: the next caller gets the error
        except RedisError:
            pass  # keep what is cached until it is too old
        finally:
            self._renewing.discard(question)

    async def _learn(self, question: Hashable, read: Callable[[], Awaitable[Any]]) -> Any:
        began, forgettings = time.monotonic(), self._forgettings
        answer = await read()
        if answer is not None and forgettings == self._forgettings:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[question] = (began, answer)
        return answer
