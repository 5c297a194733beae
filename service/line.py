"""The line of requests that wait for samplers: admits new ones, and finds those lost with a dying sampler.

Samplers take requests (`Ask`) in the order in which they were pushed. So when one is answered, all before it
have been taken. One that was taken and stays unanswered for much longer than it should need is pushed again,
whether its sampler is slow, stopped or dead. Duplicate answers do no harm.
"""

import asyncio
from dataclasses import dataclass
from itertools import islice, takewhile

from contract.errors import ErrorCode, ServiceError
from contract.formats import FORMS
from contract.sampling import SampleSpec
from contract.wire import Answer, Ask
from service.costs import Costs
from service.throughput import Throughput

LONGEST_SECONDS = 1.0
"""Time in which the samplers work off a full line, and so catch up after a flood of requests."""
LEAST_WEIGHT = 64
"""A full batch may always wait; otherwise samplers that were briefly slow would never regain their speed."""
FEWEST = 4
"""With fewer requests, the line is never full; each request counts for at most 1/FEWEST of the limit."""
_OF_A_BATCH = 8
"""Rough speed-up of a full batch over one image after the other."""
_PATIENCE_SECONDS = 0.5
_PATIENCE_FACTOR = 4
_PATIENCE_AT_LEAST = 1.5
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
    room: int = 0
    """What it uses of the line's limit: its weight, up to the most that one request may use."""
    work: int = 0
    """What it was expected to cost the samplers when it joined, in microseconds."""
    work_at_worst: int = 0
    """The same, but with the guess for a generator not heard of."""

    @property
    def weight(self) -> int:
        return self.ask.spec.weight

    @property
    def is_heavy(self) -> bool:
        """Whether its answer may be large."""
        return not _is_light(self.ask.spec) or FORMS[self.ask.spec.format].holds == "numbers"

    @property
    def may_be_asked_again(self) -> bool:
        return self.askings < _MOST_ASKINGS


class Line:
    """The waiting requests. Times are passed in, from one monotonic clock; lengths are weights, in samples.

    A sheet weighs its number of tiles, but one large sheet does not fill the line: that would refuse even
    requests for cached pictures, and others although a second sampler is idle.

    Samples of one generator can cost a hundred times as much as those of another. So the pace is measured in
    work, not in samples, and the limit follows from what waits, as soon as another generator is asked for.
    Only the limit depends on the guess for a generator not heard of: a time by it would refuse all others.
    """

    def __init__(self, *, most_images: int, timeout_seconds: float) -> None:
        self._most = most_images
        self._longest_seconds = min(LONGEST_SECONDS, timeout_seconds / 2)
        self._longest_wait_seconds = timeout_seconds * 3 / 4
        self._most_patience_seconds = timeout_seconds / 8
        self._waiting: dict[str, Waiting] = {}  # by the ask's id, in the order of pushes
        self._weight = 0
        self._work = 0
        self._work_at_worst = 0
        self._costs = Costs()
        self._room_taken = 0
        self._heavy = 0
        self._last_place = 0
        self._taken_place = 0
        self._at_work = Throughput()  # measured while any request waits
        self._at_full_speed = Throughput()  # measured while a full batch waits

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last_place(self) -> int:
        return self._last_place

    @property
    def limit(self) -> int:
        """The weight that may wait now."""
        return self._limit(self._weight or 1, self._work_at_worst or self._costs.usual)

    def _limit(self, weight: int, work: int) -> int:
        """The weight that may wait if so much work for so many samples does."""
        pace = self._pace
        if pace is None:
            return self._most
        return min(self._most, max(LEAST_WEIGHT, round(pace * self._longest_seconds * weight / work)))

    @property
    def _pace(self) -> float | None:
        """Work done per second of waiting in full batches; None before the first answer."""
        slowly = self._at_work.per_second
        return self._at_full_speed.per_second or (slowly and _OF_A_BATCH * slowly)

    @property
    def is_any_heavy(self) -> bool:
        """Whether any pending answer may be large."""
        return self._heavy > 0

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= FEWEST and self._room_taken >= self.limit

    def require_room(self, spec: SampleSpec) -> None:
        """Raise `sampler_busy` unless this request, too, may wait. An empty line admits any."""
        if not self._waiting:
            return
        work = self._work_at_worst + self._costs.at_worst(spec)
        limit = self._limit(self._weight + spec.weight, work)
        is_too_long = self._room_taken + _room(spec.weight, limit) > limit
        if (len(self._waiting) >= FEWEST and is_too_long) or self._is_too_late(spec):
            raise self.busy()

    def _is_too_late(self, spec: SampleSpec) -> bool:
        """Whether this request could not be answered in time, if it is known what it costs.

        Samplers render light requests before heavy ones, which they give up at their deadlines.
        """
        own = self._costs.of(spec)
        if self._costs.is_stranger(spec) or not self._takes_too_long(self._work + own):
            return False
        light = (one.work for one in self._waiting.values() if _is_light(one.ask.spec))
        return not _is_light(spec) or self._takes_too_long(sum(light) + own)

    def _takes_too_long(self, work: int) -> bool:
        return self._seconds_for(work) > self._longest_wait_seconds

    def busy(self) -> ServiceError:
        """The error, with the time in which the line empties at the pace of the last seconds."""
        return ServiceError(
            ErrorCode.SAMPLER_BUSY,
            f"{len(self._waiting)} requests for {self._weight} samples are already waiting for the samplers,"
            " which is as much as they can answer soon; try again in a moment.",
            retry_after_seconds=self.seconds_to_empty,
        )

    @property
    def seconds_to_empty(self) -> float:
        return self._seconds_for(self._work)

    def _seconds_for(self, work: int) -> float:
        """How long this work takes; 0 while the pace is unknown."""
        pace = self._pace
        return work / pace if pace else 0.0

    def join(self, waiting: Waiting, now: float) -> None:
        """Append a new request."""
        self._at_work.begin(now)
        waiting.work = self._costs.of(waiting.ask.spec)
        waiting.work_at_worst = self._costs.at_worst(waiting.ask.spec)
        self._weight += waiting.weight
        self._work += waiting.work
        self._work_at_worst += waiting.work_at_worst
        waiting.room = _room(waiting.weight, self.limit)
        self._room_taken += waiting.room
        self._heavy += waiting.is_heavy
        if self._weight >= LEAST_WEIGHT:
            self._at_full_speed.begin(now)
        self._append(waiting)

    def find(self, ask_id: str) -> Waiting | None:
        return self._waiting.get(ask_id)

    def learn(self, spec: SampleSpec, each_ms: float) -> None:
        """Note what a sample of a generator costs, before any request for it has been answered."""
        self._costs.learn(spec, each_ms)

    def answered(self, waiting: Waiting, now: float, each_ms: float) -> None:
        """Remove a rendered request: all before it have been taken, and it counts towards the pace.

        `each_ms` is what a sample of its generator costs, as its sampler tells.
        """
        self.learn(waiting.ask.spec, each_ms)
        for throughput in (self._at_work, self._at_full_speed):
            throughput.count(self._costs.of(waiting.ask.spec), now)
        self._came_back(waiting)

    def refused(self, waiting: Waiting) -> None:
        """Remove a refused request: all before it have been taken, but it says nothing of the pace."""
        self._came_back(waiting)

    def _came_back(self, waiting: Waiting) -> None:
        if waiting.askings == 1:  # else it may answer the earlier push, and say nothing of this place
            self.take_up_to(waiting.place)
        self.leave(waiting)

    def leave(self, waiting: Waiting) -> None:
        """Remove a request that was answered, expired or withdrawn. Idempotent."""
        if self._waiting.pop(waiting.ask.id, None):
            self._weight -= waiting.weight
            self._work -= waiting.work
            self._work_at_worst -= waiting.work_at_worst
            self._room_taken -= waiting.room
            self._heavy -= waiting.is_heavy
        if self._weight < LEAST_WEIGHT:
            self._at_full_speed.pause()
        if not self._waiting:
            self._at_work.pause()

    def take_up_to(self, place: int) -> None:
        """Note that samplers have taken all requests up to this place."""
        self._taken_place = max(self._taken_place, place)

    def first_waiting(self, count: int, last_place: int) -> list[Waiting]:
        """The first `count` requests, up to a place, that are not known to have been taken."""
        places = range(self._taken_place + 1, last_place + 1)
        return list(islice((one for one in self._waiting.values() if one.place in places), count))

    def all(self) -> list[Waiting]:
        return list(self._waiting.values())

    def lost(self, now: float) -> list[Waiting]:
        """The requests that were taken too long ago: to be pushed again."""
        taken = list(takewhile(lambda one: one.place <= self._taken_place, self._waiting.values()))
        needed = self._seconds_for(sum(one.work_at_worst for one in taken))
        patience = min(_PATIENCE_SECONDS + _PATIENCE_FACTOR * needed, self._most_patience_seconds)
        patience = max(patience, _PATIENCE_AT_LEAST * needed)
        lost = []
        for one in taken:
            if one.taken_since is None:
                one.taken_since = now
            elif one.may_be_asked_again and now - one.taken_since > patience * 2 ** (one.askings - 1):
                lost.append(one)
        return lost

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


def _is_light(spec: SampleSpec) -> bool:
    """Whether it is less than a batch."""
    return spec.weight < LEAST_WEIGHT


def _room(weight: int, limit: int) -> int:
    """What a request of this weight uses of the limit."""
    return min(weight, max(1, limit // FEWEST))
