"""The line of asks that wait for an answer: who may join, and who in it was lost with a dying sampler.

Samplers take asks in the order in which they were pushed. So when one is answered, all before it have been
taken; what was taken and is not answered for much longer than it should need is asked again. An ask that is
answered twice does no harm; the sampler that was suspected may be slow, stopped or dead, it is all the same.
"""

import asyncio
from dataclasses import dataclass
from itertools import islice, takewhile

from contract.errors import ErrorCode, ServiceError
from contract.wire import Answer, Ask
from service.drain import Drain

LONGEST_SECONDS = 1.0
"""What the samplers need for a full line: when a flood ends, so long later they have caught up."""
LEAST_IMAGES = 64
"""A full batch may always wait: else samplers that were slow for a moment would never get up to speed."""
_PATIENCE_SECONDS = 0.5
_PATIENCE_FACTOR = 4
_MOST_ASKINGS = 4


@dataclass
class Waiting:
    """One ask, and the future of its answer. `frame` is how it lies in Redis."""

    ask: Ask
    frame: bytes
    answer: asyncio.Future[Answer]
    place: int = 0
    """In the order of pushing."""
    taken_since: float | None = None
    """When it was first known to be with a sampler."""
    askings: int = 1

    @property
    def images(self) -> int:
        return self.ask.spec.count


class Line:
    """Times are of one monotonic clock, and passed in. Lengths are in images: a sheet counts its tiles."""

    def __init__(self, *, most_images: int, timeout_seconds: float) -> None:
        self._most_images = most_images
        self._longest_seconds = min(LONGEST_SECONDS, timeout_seconds / 2)
        self._most_patience_seconds = timeout_seconds / 8
        self._waiting: dict[str, Waiting] = {}  # by the id of the ask, in the order of pushing
        self._images = 0
        self._last_place = 0
        self._taken_place = 0
        self._drain = Drain()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last_place(self) -> int:
        return self._last_place

    @property
    def limit(self) -> int:
        """The images that may wait now."""
        pace = self._drain.per_second
        if pace is None:
            return self._most_images
        drained = round(pace * self._longest_seconds)
        return min(self._most_images, max(LEAST_IMAGES, drained))

    @property
    def is_full(self) -> bool:
        return self._images >= self.limit

    def require_room(self, images: int) -> None:
        """Raise `sampler_busy` unless so many more may wait. One may always, when nobody does."""
        if self._images and self._images + images > self.limit:
            raise self.busy()

    def busy(self) -> ServiceError:
        """The refusal, with when the line will have gone by at the pace of the last seconds."""
        return ServiceError(
            ErrorCode.SAMPLER_BUSY,
            f"{self._images} images wait for the samplers, and {self.limit} may; ask again in a moment.",
            retry_after_seconds=self.seconds_to_empty,
        )

    @property
    def seconds_to_empty(self) -> float:
        return self._drain.seconds_for(self._images)

    def join(self, waiting: Waiting, now: float) -> None:
        """At the end, for the first time."""
        self._drain.begin(now)
        self._images += waiting.images
        self._append(waiting)

    def find(self, ask_id: str) -> Waiting | None:
        return self._waiting.get(ask_id)

    def answered(self, waiting: Waiting, now: float) -> None:
        """A sampler did its work: those before it have been taken, and this is how fast it goes."""
        self._drain.count(waiting.images, now)
        self._came_back(waiting)

    def refused(self, waiting: Waiting) -> None:
        """A sampler wanted none of its work: those before it have been taken, and nothing tells the pace."""
        self._came_back(waiting)

    def _came_back(self, waiting: Waiting) -> None:
        if waiting.askings == 1:  # else it may be the answer to the ask before, and say nothing of this place
            self.take_up_to(waiting.place)
        self.leave(waiting)

    def leave(self, waiting: Waiting) -> None:
        """Answered, expired or withdrawn."""
        if self._waiting.pop(waiting.ask.id, None):
            self._images -= waiting.images
        if not self._waiting:
            self._drain.pause()

    def take_up_to(self, place: int) -> None:
        """Samplers have taken all up to this place."""
        self._taken_place = max(self._taken_place, place)

    def first_waiting(self, count: int, last_place: int) -> list[Waiting]:
        """The first so many, up to a place, of whom it is not known that they have been taken."""
        places = range(self._taken_place + 1, last_place + 1)
        return list(islice((one for one in self._waiting.values() if one.place in places), count))

    def all(self) -> list[Waiting]:
        return list(self._waiting.values())

    def lost(self, now: float) -> list[Waiting]:
        """Those that were taken too long ago. They are asked again: they stand at the end now."""
        taken = list(takewhile(lambda one: one.place <= self._taken_place, self._waiting.values()))
        needed = self._drain.seconds_for(sum(one.images for one in taken))
        patience = min(_PATIENCE_SECONDS + _PATIENCE_FACTOR * needed, self._most_patience_seconds)
        lost = []
        for one in taken:
            if one.taken_since is None:
                one.taken_since = now
            elif one.askings < _MOST_ASKINGS and now - one.taken_since > patience * 2 ** (one.askings - 1):
                lost.append(one)
        self.again(lost)
        return lost

    def again(self, lost: list[Waiting]) -> None:
        """Put these to the end, as asked once more."""
        for one in lost:
            del self._waiting[one.ask.id]
            one.askings += 1
            one.taken_since = None
            self._append(one)

    def _append(self, waiting: Waiting) -> None:
        self._last_place += 1
        waiting.place = self._last_place
        self._waiting[waiting.ask.id] = waiting
