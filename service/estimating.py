"""Asks the trainers what a job would take, and awaits the answer of one.

The ask is a list entry and the answer a key, both in the Redis of the records, and both lapse by themselves.
The key is looked at again and again: a blocking command would hold a connection for each ask, and one that is
cancelled leaves its connection unusable (redis-py #2579).
"""

import asyncio
import time
import uuid
from typing import cast

from redis.asyncio import Redis

from contract.errors import ErrorCode, ServiceError
from contract.estimate import Estimate, EstimateAnswer, EstimateAsk
from contract.keys import ESTIMATE_REPLY_OF, ESTIMATES_WAITING
from contract.training import Pictures, TrainingSpec
from service.store import reply

_LOOK_SECONDS = 0.1
_LAPSE_SECONDS = 10
_BUSY_RETRY_SECONDS = 5.0
_FAILED_RETRY_SECONDS = 1.0


class Estimates:
    """The gateway's side of the estimates."""

    def __init__(self, redis: "Redis", *, timeout_seconds: float, limit: int) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._limit = limit
        self._in_flight = 0
        self._last_answer_seconds = _BUSY_RETRY_SECONDS

    async def close(self) -> None:
        await self._redis.aclose()

    async def ask(self, spec: TrainingSpec, pictures: Pictures) -> Estimate:
        """A trainer's estimate.

        Raises:
            ServiceError: `trainer_busy`, `trainer_timeout`, or why the trainer could not tell.
        """
        if self._in_flight >= self._limit:
            raise ServiceError(
                ErrorCode.TRAINER_BUSY,
                f"{self._limit} estimates are being made already; ask again in a moment.",
                retry_after_seconds=self._last_answer_seconds,
            )
        self._in_flight += 1
        try:
            answer = await self._post(spec, pictures)
        finally:
            self._in_flight -= 1
        if answer.error:
            is_known = answer.error.code in set(ErrorCode)  # a trainer of a newer version may know more
            code = ErrorCode(answer.error.code) if is_known else ErrorCode.ESTIMATE_FAILED
            raise ServiceError(code, answer.error.detail, retry_after_seconds=_FAILED_RETRY_SECONDS)
        assert answer.estimate is not None
        return answer.estimate

    async def _post(self, spec: TrainingSpec, pictures: Pictures) -> EstimateAnswer:
        since = time.monotonic()
        seconds, microseconds = await self._redis.time()
        deadline_ms = seconds * 1000 + microseconds // 1000 + round(self._timeout_seconds * 1000)
        ask = EstimateAsk(
            id=uuid.uuid4().hex[:16],
            deadline_ms=deadline_ms,
            spec=spec,
            images=pictures.images,
            held_out_images=pictures.held_out_images,
        )
        frame = ask.model_dump_json()
        await self._push(frame)
        while time.monotonic() < since + self._timeout_seconds:
            await asyncio.sleep(_LOOK_SECONDS)
            found = cast("str | None", await self._redis.getdel(ESTIMATE_REPLY_OF + ask.id))
            if found:
                self._last_answer_seconds = time.monotonic() - since
                return EstimateAnswer.model_validate_json(found)
        await reply(self._redis.lrem(ESTIMATES_WAITING, 1, frame))
        raise ServiceError(
            ErrorCode.TRAINER_TIMEOUT,
            f"No trainer told within {self._timeout_seconds:g} s what this job takes; ask again. "
            "The job itself may be queued all the same.",
            retry_after_seconds=_BUSY_RETRY_SECONDS,
        )

    async def _push(self, frame: str) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.rpush(ESTIMATES_WAITING, frame)
        pipeline.expire(ESTIMATES_WAITING, round(self._timeout_seconds) + _LAPSE_SECONDS)
        await pipeline.execute()
