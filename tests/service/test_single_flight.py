"""Shared reads: few, and none that began before its caller asked."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.single_flight import SingleFlight


class Source:
    """Counts its reads; each takes 10 ms, and returns the value of `now` from when it began."""

    def __init__(self) -> None:
        self.reads = 0
        self.now = 0

    async def read(self) -> int:
        self.reads += 1
        seen = self.now
        await asyncio.sleep(0.01)
        return seen


def run(test: Callable[[Source, SingleFlight], Awaitable[None]]) -> Source:
    source = Source()
    asyncio.run(asyncio.wait_for(_begin(test, source), 60))
    return source


async def _begin(test: Callable[[Source, SingleFlight], Awaitable[None]], source: Source) -> None:
    await test(source, SingleFlight())


def test_concurrent_callers_share_one_read() -> None:
    async def test(source: Source, flight: SingleFlight) -> None:
        assert await asyncio.gather(*(flight.ask("a", source.read) for _ in range(100))) == [0] * 100

    assert run(test).reads == 1


def test_caller_during_a_read_gets_a_later_one() -> None:
    async def test(source: Source, flight: SingleFlight) -> None:
        early = asyncio.create_task(flight.ask("a", source.read))
        await asyncio.sleep(0.005)
        source.now = 1
        late = [asyncio.create_task(flight.ask("a", source.read)) for _ in range(100)]
        assert await early == 0
        assert await asyncio.gather(*late) == [1] * 100

    assert run(test).reads == 2


def test_different_questions_are_read_separately() -> None:
    async def test(source: Source, flight: SingleFlight) -> None:
        await asyncio.gather(*(flight.ask(question, source.read) for question in "abc"))

    assert run(test).reads == 3


def test_cancelled_caller_does_not_cancel_the_read_for_others() -> None:
    async def test(source: Source, flight: SingleFlight) -> None:
        leaving, staying = (asyncio.create_task(flight.ask("a", source.read)) for _ in range(2))
        await asyncio.sleep(0.005)
        leaving.cancel()
        assert await staying == 0

    assert run(test).reads == 1


def test_failure_is_raised_to_all_callers_but_not_cached() -> None:
    async def test(source: Source, flight: SingleFlight) -> None:
        async def fail() -> int:
            await source.read()
            raise ConnectionError("away")

        answers = await asyncio.gather(*(flight.ask("a", fail) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ConnectionError] * 3
        assert await flight.ask("a", source.read) == 0
        with pytest.raises(ConnectionError):
            await flight.ask("a", fail)

    assert run(test).reads == 3
