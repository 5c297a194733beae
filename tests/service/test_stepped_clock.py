"""The clock of Redis steps forward, as when a laptop wakes: deadlines by the old clock have passed."""

import asyncio
import time

import pytest
import redis

from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Answer, Ask
from service.mailbox import Mailbox
from tests.service.playing import Sampler

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="f")
STEP_MS = 3_600_000


class PunctualSampler(Sampler):
    """Drops what has expired by the clock of Redis, as real ones do."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.dropped: list[Ask] = []
        self._clock = redis.Redis.from_url(url, socket_timeout=60)

    def _next(self) -> object:
        frame = super()._next()
        if frame is None:
            return None
        assert isinstance(frame, bytes)
        ask, (seconds, _) = Ask.unpack(frame), self._clock.time()
        if ask.deadline_ms > 1000 * seconds:
            return frame
        self.dropped.append(ask)
        return None


def test_asks_that_samplers_took_for_expired_are_asked_again_by_the_clock_of_now(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.line._PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("service.mailbox._CLOCK_SECONDS", 60)  # the step is noticed by no other look at it
    specs = [SampleSpec(digest="sha256:" + "0" * 64, seed=seed) for seed in range(3)]
    sampler = PunctualSampler(redis_url)
    sampler.start()

    async def ask_before_and_after_the_step() -> list[Answer]:
        mailbox = Mailbox(redis_url, timeout_seconds=60, queue_limit=10)
        running = asyncio.create_task(mailbox.run())
        before = await mailbox.ask(specs[0], PLACE, mailbox.deadline(time.monotonic()))
        assert mailbox._clock_offset_ms is not None
        mailbox._clock_offset_ms -= STEP_MS
        until = mailbox.deadline(time.monotonic())
        try:
            return [before, *await asyncio.gather(*(mailbox.ask(spec, PLACE, until) for spec in specs[1:]))]
        finally:
            mailbox.close()
            await running

    try:
        answers = asyncio.run(ask_before_and_after_the_step())
    finally:
        sampler.stop()
    assert [answer.content for answer in answers] == [spec.canonical().encode() for spec in specs]
    assert {ask.spec for ask in sampler.dropped} == set(specs[1:])
    assert {ask.id for ask in sampler.dropped} <= {ask.id for ask in sampler.asks}
