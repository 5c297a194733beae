"""The line of asks that wait for an answer: who may join, and who in it was lost with a dying sampler.

Samplers take asks in the order in which they were pushed. So when one is answered, all before it have been
taken; what was taken and is not answered for much longer than it should need is asked again. An ask that is
answered twice does no harm; the sampler that was suspected may be slow, stopped or dead, it is all the same.
"""

import asyncio
from dataclasses import dataclass
from itertools import islice, takewhile

from contract.errors import ErrorCode, ServiceError
from contract.formats import FORMS
from contract.wire import Answer, Ask
from service.throughput import Throughput

LONGEST_SECONDS = 1.0
"""What the samplers need for a full line: when a flood ends, so long later they have caught up."""
LEAST_WEIGHT = 64
"""A full batch may always wait: else samplers that were slow for a moment would never get up to speed."""
FEWEST = 4
"""With fewer asks the line is never full, and none of them takes more of it than this part."""
_OF_A_BATCH = 8
"""A batch is about so many times as fast as one image after the other."""
_PATIENCE_SECONDS = 0.5
_PATIENCE_FACTOR = 4
_PATIENCE_AT_LEAST = 1.5
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
    room: int = 0
    """What it takes of the line: its weight, or the most that one ask may take."""

    @property
    def weight(self) -> int:
        return self.ask.spec.weight

    @property
    def is_heavy(self) -> bool:
        """Whether its answer may be large."""
        return self.weight >= LEAST_WEIGHT or FORMS[self.ask.spec.format].holds == "numbers"

    @property
    def may_be_asked_again(self) -> bool:
        return self.askings < _MOST_ASKINGS


class Line:
    """Times are of one monotonic clock, and passed in. Lengths are weights, in samples: a sheet's tiles.

    One large sheet does not fill the line: whoever comes with a picture that is kept would be refused, and
    others though a second sampler idles.
    """

    def __init__(self, *, most_images: int, timeout_seconds: float) -> None:
        self._most = most_images
        self._longest_seconds = min(LONGEST_SECONDS, timeout_seconds / 2)
        self._longest_wait_seconds = timeout_seconds * 3 / 4
        self._most_patience_seconds = timeout_seconds / 8
        self._waiting: dict[str, Waiting] = {}  # by the id of the ask, in the order of pushing
        self._weight = 0
        self._room_taken = 0
        self._heavy = 0
        self._last_place = 0
        self._taken_place = 0
        self._at_work = Throughput()  # while anybody waits
        self._at_full_speed = Throughput()  # while a batch does

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last_place(self) -> int:
        return self._last_place

    @property
    def limit(self) -> int:
        """What may wait now."""
        pace = self._pace
        if pace is None:
            return self._most
        return min(self._most, max(LEAST_WEIGHT, round(pace * self._longest_seconds)))

    @property
    def _pace(self) -> float | None:
        """What is answered in a second when enough waits for full batches; None before the first answer."""
        slowly = self._at_work.per_second
        return self._at_full_speed.per_second or (slowly and _OF_A_BATCH * slowly)

    @property
    def is_any_heavy(self) -> bool:
        """Whether any answer that is to come may be large."""
        return self._heavy > 0

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= FEWEST and self._room_taken >= self.limit

    def require_room(self, weight: int) -> None:
        """Raise `sampler_busy` unless so much more may wait. One ask may always, when nobody does."""
        if not self._waiting:
            return
        is_too_long = self._room_taken + self._room(weight) > self.limit
        is_too_late = self._seconds_for(self._weight + weight) > self._longest_wait_seconds
        if (len(self._waiting) >= FEWEST and is_too_long) or is_too_late:
            raise self.busy()

    def _room(self, weight: int) -> int:
        return min(weight, max(1, self.limit // FEWEST))

    def busy(self) -> ServiceError:
        """The refusal, with when the line will have gone by at the pace of the last seconds."""
        return ServiceError(
            ErrorCode.SAMPLER_BUSY,
            f"{len(self._waiting)} requests for {self._weight} samples are already waiting for the samplers,"
            " which is as much as they can answer soon; try again in a moment.",
            retry_after_seconds=self.seconds_to_empty,
        )

    @property
    def seconds_to_empty(self) -> float:
        return self._seconds_for(self._weight)

    def _seconds_for(self, weight: int) -> float:
        """How long so much takes; 0 as long as nothing is known."""
        pace = self._pace
        return weight / pace if pace else 0.0

    def join(self, waiting: Waiting, now: float) -> None:
        """At the end, for the first time."""
        self._at_work.begin(now)
        waiting.room = self._room(waiting.weight)
        self._weight += waiting.weight
        self._room_taken += waiting.room
        self._heavy += waiting.is_heavy
        if self._weight >= LEAST_WEIGHT:
            self._at_full_speed.begin(now)
        self._append(waiting)

    def find(self, ask_id: str) -> Waiting | None:
        return self._waiting.get(ask_id)

    def answered(self, waiting: Waiting, now: float) -> None:
        """A sampler did its work: those before it have been taken, and this is how fast it goes."""
        for throughput in (self._at_work, self._at_full_speed):
            throughput.count(waiting.weight, now)
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
            self._weight -= waiting.weight
            self._room_taken -= waiting.room
            self._heavy -= waiting.is_heavy
        if self._weight < LEAST_WEIGHT:
            self._at_full_speed.pause()
        if not self._waiting:
            self._at_work.pause()

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
        needed = self._seconds_for(sum(one.weight for one in taken))
        patience = min(_PATIENCE_SECONDS + _PATIENCE_FACTOR * needed, self._most_patience_seconds)
        patience = max(patience, _PATIENCE_AT_LEAST * needed)
        lost = []
        for one in taken:
            if one.taken_since is None:
                one.taken_since = now
            elif one.may_be_asked_again and now - one.taken_since > patience * 2 ** (one.askings - 1):
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
