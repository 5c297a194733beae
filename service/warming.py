"""Has a sampler load a generator before an alias is moved there, so that no request waits for it."""

import asyncio
import contextlib

from redis.exceptions import RedisError

from contract.keys import Role
from contract.sampling import SampleSpec
from contract.wire import Answer
from service.gateway import Gateway
from service.references import Target

PATIENCE_SECONDS = 2.0
"""Longer than a generator takes to be read and probed; a promotion never waits longer."""


async def warm(gateway: Gateway, target: Target) -> None:
    """Ask for its first picture, if a sampler is alive, and wait for it a little. Whatever comes is well."""
    with contextlib.suppress(RedisError):
        if Role.SAMPLE in await gateway.living_roles():
            spec = SampleSpec(digest=target.digest, seed=0, count=1)
            asked = asyncio.create_task(gateway.mailbox.ask(spec, target.place))
            asked.add_done_callback(_look_at)
            await asyncio.wait([asked], timeout=PATIENCE_SECONDS)
            asked.cancel()  # who waits no longer leaves the line; a sampler that has it loads it all the same


def _look_at(asked: asyncio.Task[Answer]) -> None:
    if not asked.cancelled():
        asked.exception()  # the samples themselves will tell it
