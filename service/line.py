"""The line of requests that wait for samplers: finds those lost with a dying sampler.

Samplers take requests (`Ask`) in the order in which they were pushed, but for brief ones, which may pass the
others. So when one is answered, all brief ones before it have been taken, and a look into the list shows
which of the others have. One that was taken and stays unanswered for much longer than it should need is
pushed again, whether its sampler is slow, stopped or dead. Duplicate answers do no harm.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile

from contract.wire import Answer, Ask
from service.load import Load, Share

_PATIENCE_SECONDS = 0.5
_PATIENCE_FACTOR = 4
_PATIENCE_AT_LEAST = 2
"""A sampler that pauses takes up to twice as long."""
_MOST_ASKINGS = 4


@dataclass
class Waiting:
    """An `Ask`, and the future of its answer. `frame` is the ask as encoded in Redis."""

    ask: Ask
    frame: str
    until: float
    """When it expires, by the monotonic clock."""
    answer: asyncio.Future[Answer]
    place: int = 0
    """Its position in the order of pushes."""
    taken_since: float | None = None
    """When it was first known to have been taken by a sampler."""
    askings: int = 1
    share: Share = field(init=False)
    """What it adds to the load, from when it joins the line."""

    @property
    def is_brief(self) -> bool:
        return self.ask.spec.is_brief

    @property
    def may_be_asked_again(self) -> bool:
        return self.askings < _MOST_ASKINGS


class Line:
    """The waiting requests. Times are passed in, from one monotonic clock."""

    def __init__(self, load: Load, *, timeout_seconds: float) -> None:
        self._load = load
        self._most_patience_seconds = timeout_seconds / 8
        self._waiting: dict[str, Waiting] = {}  # by the ask's id, in the order of pushes
        self._last_place = 0
        self._taken_place = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, waiting: Waiting, now: float) -> None:
        """Append a new request."""
        waiting.share = self._load.join(waiting.ask.spec, now)
        self._append(waiting)

    def find(self, ask_id: str) -> Waiting | None:
        return self._waiting.get(ask_id)

    def answered(self, waiting: Waiting, now: float, each_ms: float) -> None:
        """Remove a rendered request: all before it have been taken."""
        self._came_back(waiting)
        self._load.answered(waiting.share, now, each_ms)

    def refused(self, waiting: Waiting) -> None:
        """Remove a refused request: all before it have been taken, but it says nothing of the pace."""
        self._came_back(waiting)
        self._load.leave(waiting.share)

    def _came_back(self, waiting: Waiting) -> None:
        if waiting.askings == 1:  # else it may answer the earlier push, and say nothing of this place
            self.take_up_to(waiting.place)
        del self._waiting[waiting.ask.id]

    def leave(self, waiting: Waiting) -> None:
        """Remove a request that was answered, expired or withdrawn. Idempotent."""
        if self._waiting.pop(waiting.ask.id, None):
            self._load.leave(waiting.share)

    def take_up_to(self, place: int) -> None:
        """Note that samplers have taken all requests up to this place."""
        self._taken_place = max(self._taken_place, place)

    def first_waiting(self, count: int, last_place: int) -> list[Waiting]:
        """The first `count` requests, up to a place, that are not known to have been taken."""
        places = range(self._taken_place + 1, last_place + 1)
        return list(islice((one for one in self._waiting.values() if one.place in places), count))

    def all(self) -> list[Waiting]:
        return list(self._waiting.values())

    def passed(self, count: int) -> list[Waiting]:
        """The first requests of which it is not known whether they were taken; others after them were."""
        before = self._before_the_taken()
        return list(islice((one for one in before if one.taken_since is None and not one.is_brief), count))

    def lost(self, now: float) -> list[Waiting]:
        """The requests that were taken too long ago: to be pushed again."""
        taken = [one for one in self._before_the_taken() if one.taken_since is not None or one.is_brief]
        needed = self._load.seconds_for(sum(one.share.work_at_worst for one in taken))
        patience = min(_PATIENCE_SECONDS + _PATIENCE_FACTOR * needed, self._most_patience_seconds)
        patience = max(patience, _PATIENCE_AT_LEAST * needed)
        lost = []
        for one in taken:
            if one.taken_since is None:
                one.taken_since = now
            elif one.may_be_asked_again and now - one.taken_since > patience * 2 ** (one.askings - 1):
                lost.append(one)
        return lost

    def _before_the_taken(self) -> Iterator[Waiting]:
        return takewhile(lambda one: one.place <= self._taken_place, self._waiting.values())

    def again(self, lost: list[Waiting]) -> None:
        """Move these to the end, as pushed once more."""
        for one in lost:
            del self._waiting[one.ask.id]
            one.askings += 1
            one.taken_since = None
            self._append(one)

    def _append(self, waiting: Waiting) -> None:
        self._last_place += 1
        waiting.place = self._last_place
        self._waiting[waiting.ask.id] = waiting
