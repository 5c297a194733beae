"""Makes every sampler load a generator before an alias moves to it, so that no request has to wait."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from contract.warming import LIVES_SECONDS, PATIENCE_SECONDS, FirstPictures, LivingSampler
from contract.wire import Answer
from service.gateway import Gateway
from service.references import Target
from service.store import reply

_LOOK_SECONDS = 0.01
"""Polled: a blocking pop must not be cancelled, and this may be."""


async def warm(gateway: Gateway, target: Target) -> None:
    """Request a generator's first picture from each living sampler, and wait briefly. Best effort.

    Concurrent calls for the same generator share one request; while many others are being loaded, there is
    none. A sampler finishes loading what it has begun, even when no call waits for it any more.
    """
    question = ("warm", target.digest)
    asking = gateway.later(gateway.shared.ask(question, lambda: _ask_all(gateway, target)))
    await asyncio.wait([asking], timeout=PATIENCE_SECONDS)  # not cancelled, which would interrupt a command


async def _ask_all(gateway: Gateway, target: Target) -> None:
    if gateway.warmings.locked():
        return
    async with gateway.warmings:
        with contextlib.suppress(RedisError, ValueError):  # requests for samples will report it
            if samplers := await gateway.living_samplers():
                await _ask_each(gateway, samplers, target)


async def _ask_each(gateway: Gateway, samplers: Sequence[LivingSampler], target: Target) -> None:
    redis = gateway.warming_redis
    seconds, _ = await redis.time()
    wanted = FirstPictures.of(samplers, target.digest, target.place, seconds)
    pipeline = redis.pipeline(transaction=False)
    for waiting, ask in wanted.asks:
        pipeline.rpush(waiting, ask.pack())
        pipeline.expire(waiting, LIVES_SECONDS)
    await pipeline.execute()
    missing = {ask.id: ask.spec for _, ask in wanted.asks}
    until = time.monotonic() + PATIENCE_SECONDS
    while missing and time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        for frame in await reply(redis.lpop(wanted.replies, len(missing))) or ():
            answer = Answer.unpack(frame)
            if (spec := missing.pop(answer.id, None)) and answer.stages:
                gateway.mailbox.load.learn(spec, answer.stages.each)
