"""Makes every sampler load a generator before an alias moves to it, so that no request has to wait."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract.errors import ServiceError
from contract.sampling import CheckpointPlace
from contract.warming import LIVES_SECONDS, PATIENCE_SECONDS, FirstPictures, LivingSampler
from contract.wire import MALFORMED, Answer
from service.background import Background
from service.load import Load
from service.redis_client import awaited
from service.roster import Roster
from service.single_flight import SingleFlight

_LOOK_SECONDS = 0.01
"""Polled: a blocking pop must not be cancelled, and this may be. Later, less often."""
_LATER = 1 / 20
"""Interval of looks, as a share of the time waited so far."""
_ROLL_CALL_SECONDS = 1.0
_MOST_AT_ONCE = 8
"""Generators loaded at the same time; about as many as a sampler loads while a client waits for it."""


class Warming:
    """Requests a generator's first picture from each living sampler. Best effort, but refusals are heard."""

    def __init__(
        self, redis: "Redis", roster: Roster, load: Load, *, background: Background, shared: SingleFlight
    ) -> None:
        """`redis` is the samplers'; `load` learns what a picture of each generator costs."""
        self._redis = redis
        self._roster = roster
        self._load = load
        self._background = background
        self._shared = shared
        self._under_way = asyncio.Semaphore(_MOST_AT_ONCE)
        self._is_closed = False

    async def warm(self, digest: str, place: CheckpointPlace) -> None:
        """Have a generator loaded, and wait until it is, but no longer than `PATIENCE_SECONDS`.

        Concurrent calls for the same generator share one request; while many others are being loaded, there
        is none. A sampler finishes loading what it has begun, even when no call waits for it any more.

        Raises:
            ServiceError: a sampler's own, if it has refused within that time.
        """
        asking = self._shared.ask(("warm", digest, place), lambda: self._ask_all(digest, place))
        task = self._background.run(asking)  # not cancelled, which would interrupt a command
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        if task.done() and not task.cancelled() and (refusal := task.result()):
            detail = f"Nothing was changed, since a sampler cannot load this generator: {refusal.detail}"
            raise ServiceError(refusal.code, detail)

    async def close(self) -> None:
        self._is_closed = True
        await self._redis.aclose()

    async def _ask_all(self, digest: str, place: CheckpointPlace) -> ServiceError | None:
        if self._under_way.locked():
            return None
        async with self._under_way:
            with contextlib.suppress(RedisError, *MALFORMED):  # requests for samples will report it
                if samplers := await self._roster.samplers():
                    return await self._ask_each(samplers, digest, place)
        return None

    async def _ask_each(
        self, samplers: Sequence[LivingSampler], digest: str, place: CheckpointPlace
    ) -> ServiceError | None:
        """The first refusal; None once all that are still there have the generator, or time is up."""
        seconds, _ = await self._redis.time()
        wanted = FirstPictures.of(samplers, digest, place, seconds)
        pipeline = self._redis.pipeline(transaction=False)
        for waiting, ask in wanted.asks:
            pipeline.rpush(waiting, ask.pack())
            pipeline.expire(waiting, LIVES_SECONDS)
        await pipeline.execute()
        return await self._hear_out(wanted)

    async def _hear_out(self, wanted: FirstPictures) -> ServiceError | None:
        missing = {ask.id: (waiting, ask.spec) for waiting, ask in wanted.asks}
        began_at = called_at = time.monotonic()
        while missing and (waited := time.monotonic() - began_at) < PATIENCE_SECONDS:
            await asyncio.sleep(max(_LOOK_SECONDS, _LATER * waited))
            if self._is_closed:
                break
            for frame in await awaited(self._redis.lpop(wanted.replies, len(missing))) or ():
                answer = Answer.unpack(frame)
                if answer.error:
                    return ServiceError(answer.error, answer.detail)
                if (answered := missing.pop(answer.id, None)) and answer.stages:
                    self._load.learn(answered[1], answer.stages.each)
            if time.monotonic() - called_at > _ROLL_CALL_SECONDS:
                called_at = time.monotonic()
                present = {one.waiting for one in await self._roster.samplers()}
                missing = {ask_id: asked for ask_id, asked in missing.items() if asked[0] in present}
        return None
