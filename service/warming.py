"""Has a sampler load a generator before an alias is moved there, so that no request waits for it."""

import asyncio
import contextlib

from redis.exceptions import RedisError

from contract.errors import ServiceError
from contract.keys import Role
from contract.sampling import SampleSpec
from service.gateway import Gateway
from service.references import Target

PATIENCE_SECONDS = 2.0
"""Longer than a generator takes to be read and probed; a promotion never waits longer."""


async def warm(gateway: Gateway, target: Target) -> None:
    """Ask for its first picture, if a sampler is alive, and wait for it a little. Whatever comes is well."""
    with contextlib.suppress(ServiceError, RedisError, TimeoutError):
        if Role.SAMPLE in await gateway.living_roles():
            spec = SampleSpec(digest=target.digest, seed=0, count=1)
            await asyncio.wait_for(gateway.pictures.render(spec, target.place), PATIENCE_SECONDS)
