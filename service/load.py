"""The load of the samplers: what waits for them, how fast they work it off, and so what else may wait."""

from dataclasses import dataclass

from contract.errors import ErrorCode, FieldError, ServiceError
from contract.formats import FORMS
from contract.sampling import FULL_BATCH, SampleSpec
from service.costs import Costs
from service.throughput import Throughput

LONGEST_SECONDS = 1.0
"""Time in which the samplers work off a full line, and so catch up after a flood of requests."""
LEAST_WEIGHT = FULL_BATCH
"""A full batch may always wait; otherwise samplers that were briefly slow would never regain their speed."""
FEWEST = 4
"""With fewer requests, the line is never full; each request counts for at most 1/FEWEST of the limit."""
_OF_ONE_SAMPLER = 1_000_000
"""The pace of a sampler that needs as long as it tells: work is in microseconds."""
_OF_A_BATCH = 8
"""Rough speed-up of a full batch over one image after the other."""
_SLOWED = 2
"""A sampler gives a heavy request half of its time at least, while it serves others in between."""


@dataclass(frozen=True)
class Share:
    """What one waiting request adds to the load, as seen when it joined."""

    spec: SampleSpec
    room: int
    """What it uses of the limit: its weight, up to the most that one request may use."""
    work: int
    """What it is expected to cost the samplers, in microseconds."""
    work_at_worst: int
    """The same, but with the guess for a generator not heard of."""

    @property
    def is_light(self) -> bool:
        return self.spec.is_light

    @property
    def is_large(self) -> bool:
        """Whether its answer may be large."""
        return not self.is_light or FORMS[self.spec.format].holds == "numbers"


class Load:
    """Sums over the waiting requests. Times are passed in, from one monotonic clock; weights are in samples.

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
        self._timeout_seconds = timeout_seconds
        self._costs = Costs()
        self._requests = 0
        self._weight = 0
        self._room = 0
        self._work = 0
        self._light_work = 0
        self._work_at_worst = 0
        self._large = 0
        self._heavy = 0
        self._heavy_until = 0.0  # until then heavy requests should be answered, but for lost ones
        self._at_work = Throughput()  # measured while any request waits
        self._at_full_speed = Throughput()  # measured while a full batch waits

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
        if quickly := self._at_full_speed.per_second:
            return quickly
        slowly = self._at_work.per_second
        return slowly and _OF_A_BATCH * slowly

    @property
    def is_any_large(self) -> bool:
        """Whether any pending answer may be large."""
        return self._large > 0

    @property
    def is_full(self) -> bool:
        return self._requests >= FEWEST and self._room >= self.limit

    def require_room(self, spec: SampleSpec) -> None:
        """Raise `sampler_busy` unless this request, too, may wait.

        An empty line admits any, unless it could not be answered in time: that is `invalid_request`.
        """
        self._require_brevity(spec)
        if not self._requests:
            return
        limit = self._limit(self._weight + spec.weight, self._work_at_worst + self._costs.at_worst(spec))
        is_too_long = self._room + _room(spec.weight, limit) > limit
        if (self._requests >= FEWEST and is_too_long) or self._is_too_late(spec):
            raise self.busy()

    def _require_brevity(self, spec: SampleSpec) -> None:
        """Refuse what one sampler, with nothing else to do, would not render in time, if its cost is known.

        It has twice that time, because a cost may have been measured at a bad moment. The pace counts only if
        it is high: a low one may be of a bad moment, too, and nothing would correct it.
        """
        work = self._costs.rendering(spec)
        if spec.count == 1 or work is None:
            return
        pace = max(self._pace or 0, _OF_ONE_SAMPLER)
        if work <= 2 * pace * self._longest_wait_seconds:
            return
        most = max(1, int(spec.count * pace * self._longest_wait_seconds / work))
        detail = (
            f"{spec.count} samples of this generator take a sampler about {work / pace:.0f} s, and an answer"
            f" may take {self._longest_wait_seconds:g}; ask for fewer at a time, {most} at most."
        )
        raise ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=(FieldError("count", detail),))

    def _is_too_late(self, spec: SampleSpec) -> bool:
        """Whether this request could not be answered in time, if it is known what it costs.

        Samplers render light requests before and between heavy ones, and give these up at their deadlines.
        """
        before = self._light_work if spec.is_light else self._work
        seconds = self.seconds_for(before + self._costs.of(spec))
        return seconds > self._longest_wait_seconds and not self._costs.is_stranger(spec)

    def busy(self) -> ServiceError:
        """The error, with the time in which the line empties at the pace of the last seconds."""
        return ServiceError(
            ErrorCode.SAMPLER_BUSY,
            f"{self._requests} requests for {self._weight} samples are already waiting for the samplers,"
            " which is as much as they can answer soon; try again in a moment.",
            retry_after_seconds=self.seconds_to_empty,
        )

    @property
    def seconds_to_empty(self) -> float:
        return self.seconds_for(self._work)

    def seconds_for(self, work: int) -> float:
        """How long this work takes; 0 while the pace is unknown."""
        pace = self._pace
        return work / pace if pace else 0.0

    def join(self, spec: SampleSpec, now: float) -> Share:
        """Add a request."""
        at_worst = self._costs.at_worst(spec)
        room = _room(spec.weight, self._limit(self._weight + spec.weight, self._work_at_worst + at_worst))
        share = Share(spec, room, self._costs.of(spec), at_worst)
        if not share.is_light:
            begins_at = max(now, self._heavy_until) if self._heavy else now
            pace = min(self._pace or _OF_ONE_SAMPLER, _OF_ONE_SAMPLER)  # a sheet is rendered by one of them
            needed_seconds = _SLOWED * share.work / pace
            if self._costs.rendering(spec) is None:  # a guess may be far too low
                needed_seconds = self._timeout_seconds
            self._heavy_until = min(begins_at + needed_seconds, now + self._timeout_seconds)
        self._add(share, 1)
        self._at_work.begin(now)
        if self._weight >= LEAST_WEIGHT:
            self._at_full_speed.begin(now)
        return share

    def learn(self, spec: SampleSpec, each_ms: float) -> None:
        """Note what a sample of a generator costs, before any request for it has been answered."""
        self._costs.learn(spec, each_ms)

    def answered(self, share: Share, now: float, each_ms: float) -> None:
        """Remove a rendered request; it counts towards the pace.

        A light one that was answered while heavy ones are being rendered says nothing of it by itself, since
        these took the rest of the time. `each_ms` is what a sample of its generator costs, as samplers tell.
        """
        self.learn(share.spec, each_ms)
        work = self._costs.of(share.spec)
        is_in_between = share.is_light and self._heavy > 0 and now < self._heavy_until
        for throughput in (self._at_work, self._at_full_speed):
            if is_in_between:
                throughput.hold(work)
            else:
                throughput.count(work, now)
        self.leave(share)

    def leave(self, share: Share) -> None:
        """Remove a request that says nothing of the pace."""
        self._add(share, -1)
        if self._weight < LEAST_WEIGHT:
            self._at_full_speed.pause()
        if not self._requests:
            self._at_work.pause()

    def _add(self, share: Share, sign: int) -> None:
        self._requests += sign
        self._weight += sign * share.spec.weight
        self._room += sign * share.room
        self._work += sign * share.work
        self._light_work += sign * share.work * share.is_light
        self._work_at_worst += sign * share.work_at_worst
        self._large += sign * share.is_large
        self._heavy += sign * (not share.is_light)


def _room(weight: int, limit: int) -> int:
    """What a request of this weight uses of the limit."""
    return min(weight, max(1, limit // FEWEST))
