"""Has every sampler load a generator before an alias is moved there, so that no request waits for it."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR
from contract.sampling import SampleSpec
from contract.wire import Ask
from service.gateway import Gateway
from service.references import Target
from service.store import reply

PATIENCE_SECONDS = 2.0
"""Longer than a generator takes to be read and probed; a promotion never waits longer."""
_LOOK_SECONDS = 0.01
_LIVES_SECONDS = 10
"""What a sampler that has just died was asked is gone by then."""


async def warm(gateway: Gateway, target: Target) -> None:
    """Ask each living sampler for its first picture, and wait for them a little. Whatever comes is well.

    A sampler ends the loading that it has begun, even when nobody waits for it any more.
    """
    asking = gateway.later(_ask_all(gateway, target))
    await asyncio.wait([asking], timeout=PATIENCE_SECONDS)  # not cancelled: a command would be cut off


async def _ask_all(gateway: Gateway, target: Target) -> None:
    with contextlib.suppress(RedisError):  # the samples themselves will tell it
        if samplers := await gateway.living_samplers():
            await _ask_each(gateway, samplers, target)


async def _ask_each(gateway: Gateway, samplers: Sequence[str], target: Target) -> None:
    redis = gateway.mailbox.redis
    seconds, _ = await redis.time()
    answers_to = secrets.token_hex(6)
    deadline_ms = round(1000 * (seconds + PATIENCE_SECONDS + 1))
    spec = SampleSpec(digest=target.digest, seed=0, count=1)
    frame = Ask(secrets.token_hex(8), answers_to, deadline_ms, spec, target.place).pack()
    pipeline = redis.pipeline(transaction=False)
    for sampler in samplers:
        pipeline.rpush(SAMPLES_WAITING_FOR + sampler, frame)
        pipeline.expire(SAMPLES_WAITING_FOR + sampler, _LIVES_SECONDS)
    await pipeline.execute()
    missing, until = len(samplers), time.monotonic() + PATIENCE_SECONDS
    while missing and time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        missing -= len(await reply(redis.lpop(SAMPLES_REPLIES_OF + answers_to, missing)) or ())
