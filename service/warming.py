"""Has every sampler load a generator before an alias is moved there, so that no request waits for it."""

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
"""Not a blocking pop: an async one must not be cut off, and this may be."""


async def warm(gateway: Gateway, target: Target) -> None:
    """Ask each living sampler for its first picture, and wait for them a little. Whatever comes is well.

    However many want the same generator, it is asked for once at a time; while many others are being loaded,
    not at all. A sampler ends the loading that it has begun, even when nobody waits for it any more.
    """
    question = ("warm", target.digest)
    asking = gateway.later(gateway.shared.ask(question, lambda: _ask_all(gateway, target)))
    await asyncio.wait([asking], timeout=PATIENCE_SECONDS)  # not cancelled: a command would be cut off


async def _ask_all(gateway: Gateway, target: Target) -> None:
    if gateway.warmings.locked():
        return
    async with gateway.warmings:
        with contextlib.suppress(RedisError):  # the samples themselves will tell it
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
