"""What may be a second old: read once, however many ask, and then known without a trip to Redis.

A digest means the same generator for as long as its job lives, and the renderer changes only when samplers of
another kind take over. What can be stale is that the job still lives: what this process deletes it forgets
before it says so; what another deletes, within a second. Aliases can be moved, and are never remembered.

Under pressure, when nobody may wait for Redis, what is older is good enough for half a minute, and is read
anew behind the answer's back.
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
    """Answers by question, none older than is told above. Refusals and None are not remembered."""

    def __init__(
        self,
        shared: SingleFlight,
        is_pressed: Callable[[], bool],
        later: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """`later` lets something be done in the background."""
        self._shared = shared
        self._is_pressed = is_pressed
        self._later = later
        self._renewing: set[Hashable] = set()
        self._known: dict[Hashable, tuple[float, object]] = {}
        self._forgettings = 0

    def knows(self, question: Hashable) -> bool:
        """Whether `ask` answers at once."""
        return self._find(question) is not None

    async def ask(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """The answer of `read`; its exceptions too. Equal questions must read the same."""
        known = self._find(question)
        if known is not None:
            if self._age(question) >= REMEMBERED_SECONDS and question not in self._renewing:
                self._renewing.add(question)
                self._later(self._renew(question, read))
            return cast("T", known)
        return await self._shared.ask(("remembered", question), lambda: self._learn(question, read))

    def forget(self) -> None:
        """Nothing that was read or asked for before this call is remembered after it."""
        self._known.clear()
        self._forgettings += 1

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
            self._known.pop(question, None)  # it is no more: whoever asks next hears so
        except RedisError:
            pass  # what is known stays known until it is too old
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
