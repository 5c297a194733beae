"""Makes every sampler load a generator before an alias moves to it, so that no request has to wait."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract.keys import SAMPLES_WAITING_FOR
from contract.warming import LIVES_SECONDS, PATIENCE_SECONDS, answers_to, first_picture
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
        with contextlib.suppress(RedisError):  # requests for samples will report it
            if samplers := await gateway.living_samplers():
                await _ask_each(gateway.warming_redis, samplers, target)


async def _ask_each(redis: "Redis", samplers: Sequence[str], target: Target) -> None:
    seconds, _ = await redis.time()
    ask = first_picture(target.digest, target.place, seconds)
    pipeline = redis.pipeline(transaction=False)
    for sampler in samplers:
        pipeline.rpush(SAMPLES_WAITING_FOR + sampler, ask.pack())
        pipeline.expire(SAMPLES_WAITING_FOR + sampler, LIVES_SECONDS)
    await pipeline.execute()
    missing, until = len(samplers), time.monotonic() + PATIENCE_SECONDS
    while missing and time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        missing -= len(await reply(redis.lpop(answers_to(ask), missing)) or ())
