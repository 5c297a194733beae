"""The line's limit is in seconds of work, so it holds when another generator is asked for."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from contract.errors import ServiceError
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Ask
from service.line import Line, Waiting
from service.load import LEAST_WEIGHT, Load
from service.mailbox import Mailbox
from tests.service.playing import STAGES, Sampler

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="f")


@dataclass(frozen=True)
class Generator:
    name: str
    each_ms: float

    @property
    def spec(self) -> SampleSpec:
        return SampleSpec(digest="sha256:" + self.name * 64, seed=0)


FAST, SLOW, ALIKE = Generator("a", 0.5), Generator("b", 25), Generator("c", 0.5)


class Service:
    """A line, and one simulated sampler that renders what waits in full batches, in turn."""

    def __init__(self) -> None:
        self.load = Load(most_images=4096, timeout_seconds=30)
        self.line = Line(self.load, timeout_seconds=30)
        self.now = 0.0
        self.waited: list[tuple[Generator, float]] = []
        """The seconds that answered requests have waited."""
        self.refused = 0
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count()
        self._queue: list[tuple[Generator, float, Waiting]] = []

    def close(self) -> None:
        self._loop.close()

    def offer(self, generators: Iterator[Generator], *, per_second: float, seconds: float) -> None:
        """Offer single pictures at an even rate."""
        until, arrival = self.now + seconds, self.now
        while arrival < until:
            batch = self._batch()
            busy_until = self.now + sum(generator.each_ms for generator, _, _ in batch) / 1000
            busy_until = max(busy_until, self.now + 0.001)
            while arrival < busy_until:
                self._arrive(next(generators), arrival)
                arrival += 1 / per_second
            self.now = busy_until
            self._answer(batch)
        while self._queue:
            batch = self._batch()
            self.now += sum(generator.each_ms for generator, _, _ in batch) / 1000
            self._answer(batch)

    def _arrive(self, generator: Generator, at: float) -> None:
        try:
            self.load.require_room(generator.spec)
        except ServiceError:
            self.refused += 1
            return
        ask = Ask(f"{next(self._numbers)}", "gateway", 0, generator.spec, PLACE)
        waiting = Waiting(ask, "", at + 30, self._loop.create_future())
        self.line.join(waiting, at)
        self._queue.append((generator, at, waiting))

    def _batch(self) -> list[tuple[Generator, float, Waiting]]:
        batch, self._queue = self._queue[:LEAST_WEIGHT], self._queue[LEAST_WEIGHT:]
        return batch

    def _answer(self, batch: list[tuple[Generator, float, Waiting]]) -> None:
        for generator, arrived_at, waiting in batch:
            self.line.answered(waiting, self.now, generator.each_ms)
            self.waited.append((generator, self.now - arrived_at))


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def longest(waited: list[tuple[Generator, float]]) -> float:
    return max(seconds for _, seconds in waited)


@pytest.mark.parametrize("offered", [100, 600, 3000])
def test_change_to_a_slow_generator_lets_no_backlog_of_its_pictures_grow(
    service: Service, offered: float
) -> None:
    """With a limit in pictures per second, 1,900 of them were admitted: some waited for 28 s."""
    service.offer(itertools.repeat(FAST), per_second=3000, seconds=20)
    assert longest(service.waited) < 1.5
    service.waited.clear()
    service.offer(itertools.repeat(SLOW), per_second=offered, seconds=60)
    assert longest(service.waited) < 8
    assert longest(service.waited[600:]) < 2 * LEAST_WEIGHT * SLOW.each_ms / 1000 + 1, (
        "a batch behind another"
    )
    assert len(service.waited) > 0.9 * 60 * 1000 / SLOW.each_ms, "the sampler was never idle"


def test_change_to_an_equal_generator_refuses_nobody_at_four_fifths_of_the_load(service: Service) -> None:
    service.offer(itertools.repeat(FAST), per_second=1600, seconds=20)
    service.refused = 0
    service.offer(itertools.repeat(ALIKE), per_second=1600, seconds=5)
    assert service.refused == 0


def test_mixed_generators_wait_for_about_a_second(service: Service) -> None:
    service.offer(itertools.cycle([FAST] * 9 + [SLOW]), per_second=3000, seconds=60)
    assert longest(service.waited[len(service.waited) // 2 :]) < 2
    assert service.refused > 0


def test_new_generator_counts_as_slower_than_the_last_until_it_has_answered(service: Service) -> None:
    service.offer(itertools.repeat(FAST), per_second=3000, seconds=20)
    limit = service.load.limit
    service._arrive(ALIKE, service.now)
    assert service.load.limit < limit / 4


def test_cost_that_a_sampler_tells_reaches_the_line(redis_url: str, sampler: Sampler) -> None:
    async def weighed() -> int:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=100)
        running = asyncio.create_task(mailbox.run())
        await mailbox.ask(FAST.spec, PLACE, mailbox.deadline(time.monotonic()))
        mailbox.close()
        await running
        return mailbox.load._costs.of(FAST.spec)

    assert asyncio.run(weighed()) == STAGES.each * 1000
