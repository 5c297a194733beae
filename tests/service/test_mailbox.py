"""How many answers the gateway reads from its list at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from contract.errors import ErrorCode, ServiceError
from contract.formats import SampleFormat
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Answer, Ask
from service.line import Waiting
from service.mailbox import Mailbox
from tests.service.playing import Sampler

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="f")


def _spec(seed: int, chosen: SampleFormat = "png", count: int = 1) -> SampleSpec:
    return SampleSpec(digest="sha256:" + "0" * 64, seed=seed, format=chosen, count=count)


async def _line_up(mailbox: Mailbox, count: int) -> None:
    while len(mailbox.line) < count:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("small", "also", "most"),
    [(5, [], 32), (1, [], 1), (5, [_spec(10_000, "npz", 2)], 1), (5, [_spec(10_000, "zip", 256)], 1)],
)
def test_answers_are_read_in_bulk_unless_one_is_pending_or_a_large_one_is(
    redis_url: str,
    sampler: Sampler,
    monkeypatch: pytest.MonkeyPatch,
    small: int,
    also: Sequence[SampleSpec],
    most: int,
) -> None:
    read: list[int] = []

    async def ask_for_many() -> None:
        mailbox = Mailbox(redis_url, timeout_seconds=60, queue_limit=4096)
        blpop, lpop = mailbox._receiver.blpop, mailbox._receiver.lpop

        async def one(*arguments: Any) -> Any:
            read.append(1)
            return await blpop(*arguments)

        async def several(key: str, count: int) -> Any:
            read.append(count)
            return await lpop(key, count)

        monkeypatch.setattr(mailbox._receiver, "blpop", one)
        monkeypatch.setattr(mailbox._receiver, "lpop", several)
        sampler.hold()
        running = asyncio.create_task(mailbox.run())
        until = mailbox.deadline(time.monotonic())
        asked = [asyncio.ensure_future(mailbox.ask(_spec(seed), PLACE, until)) for seed in range(small)]
        await _line_up(mailbox, small)
        # These are answered last.
        asked += [asyncio.ensure_future(mailbox.ask(spec, PLACE, until)) for spec in also]
        await _line_up(mailbox, len(asked))
        read.clear()
        sampler.held.clear()
        await asyncio.gather(*asked)
        mailbox.close()
        await running

    asyncio.run(ask_for_many())
    assert max(read) == most


def test_sheet_that_single_pictures_pass_is_pushed_again_only_once_it_is_not_in_the_list(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.line._PATIENCE_SECONDS", 0)
    line = redis.Redis.from_url(redis_url)
    looks: list[list[Waiting]] = []

    async def until(claim: Callable[[], bool]) -> None:
        while not claim():
            await asyncio.sleep(0.01)

    async def ask_for_both() -> None:
        mailbox = Mailbox(redis_url, timeout_seconds=60, queue_limit=4096)
        look_for = mailbox._look_for

        async def note(passed: list[Waiting]) -> None:
            looks.append(passed)
            await look_for(passed)

        monkeypatch.setattr(mailbox, "_look_for", note)
        running = asyncio.create_task(mailbox.run())
        asks = []
        for count in (1000, 1):
            ask = mailbox.ask(_spec(1, count=count), PLACE, mailbox.deadline(time.monotonic()))
            asks.append(asyncio.ensure_future(ask))
            await until(lambda: line.llen(SAMPLES_WAITING) == len(asks))
        frame = line.rpop(SAMPLES_WAITING)
        assert isinstance(frame, bytes)
        # A refusal says nothing of the pace, by which the gateway would wait for the sheet.
        refusal = Answer(Ask.unpack(frame).id, "r1", b"", ErrorCode.INTERNAL, "the sampler failed")
        line.rpush(SAMPLES_REPLIES_OF + mailbox.name, refusal.pack())
        with pytest.raises(ServiceError, match="the sampler failed"):
            await asks[1]
        await until(lambda: len(looks) > 3)
        assert line.llen(SAMPLES_WAITING) == 1
        assert [one.askings for one in looks[-1]] == [1]
        line.lpop(SAMPLES_WAITING)  # as if a sampler had taken it and died
        await until(lambda: line.llen(SAMPLES_WAITING) == 1)
        asks[0].cancel()
        mailbox.close()
        await running

    asyncio.run(asyncio.wait_for(ask_for_both(), 60))


def test_a_redis_that_hangs_does_not_delay_the_end_of_a_gateway() -> None:
    async def end_while_it_hangs() -> None:
        begun = asyncio.Event()

        async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            begun.set()
            await asyncio.Event().wait()

        server = await asyncio.start_server(hang, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        mailbox = Mailbox(f"redis://127.0.0.1:{port}", timeout_seconds=60, queue_limit=4096)
        running = asyncio.create_task(mailbox.run())
        await begun.wait()
        mailbox.close()
        await asyncio.wait_for(running, 8)  # of the 30 s that these tests wait for a slow one

    asyncio.run(end_while_it_hangs())
