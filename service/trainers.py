"""Sends the trainers requests that need torch, and waits for the answer of one.

A request is a list entry and its answer a key, both in the Redis of the records, and both expire by
themselves. The key is polled: a blocking command would hold a connection for each request, and one that is
cancelled leaves its connection unusable (redis-py #2579).
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Collection
from typing import cast

from redis.asyncio import Redis

from contract.errors import ErrorCode, ServiceError
from contract.job import Failure
from contract.keys import Role
from contract.trainers import TrainerAsk
from service.redis_client import awaited

_LOOK_SECONDS = 0.1
_LAPSE_SECONDS = 10
_BUSY_RETRY_SECONDS = 5.0
_FAILED_RETRY_SECONDS = 1.0
_START_SECONDS = 5.0


class TrainerPost:
    """A list that trainers take requests from, and a key for each answer."""

    WAITING: str
    REPLY_OF: str

    def __init__(self, redis: "Redis", *, timeout_seconds: float, limit: int) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._limit = limit
        self._in_flight = 0
        self._last_answer_seconds = _BUSY_RETRY_SECONDS

    async def close(self) -> None:
        await self._redis.aclose()

    async def _answer(self, ask: Callable[[str, int], TrainerAsk], *, late: str) -> str:
        """Return a trainer's answer to the request that `ask` builds from an id and a deadline in Redis time.

        Raises:
            ServiceError: `trainer_busy`, or `trainer_timeout` with the message `late`, in which `{seconds}`
                stands for the limit.
        """
        if self._in_flight >= self._limit:
            raise ServiceError(
                ErrorCode.TRAINER_BUSY,
                f"The gateway already has {self._limit} such requests at the trainers; try again in a "
                "moment.",
                retry_after_seconds=self._last_answer_seconds,
            )
        self._in_flight += 1
        try:
            return await self._post(ask, late)
        finally:
            self._in_flight -= 1

    async def _post(self, ask: Callable[[str, int], TrainerAsk], late: str) -> str:
        since = time.monotonic()
        seconds, microseconds = await self._redis.time()
        deadline_ms = seconds * 1000 + microseconds // 1000 + round(self._timeout_seconds * 1000)
        ask_id = uuid.uuid4().hex[:16]
        frame = ask(ask_id, deadline_ms).model_dump_json()
        await self._push(frame)
        while time.monotonic() < since + self._timeout_seconds:
            await asyncio.sleep(_LOOK_SECONDS)
            found = cast("str | None", await awaited(self._redis.get(self.REPLY_OF + ask_id)))
            if found:
                await awaited(self._redis.delete(self.REPLY_OF + ask_id))  # a GETDEL, retried, finds nothing
                self._last_answer_seconds = time.monotonic() - since
                return found
        await awaited(self._redis.lrem(self.WAITING, 1, frame))
        detail = late.format(seconds=f"{self._timeout_seconds:g}")
        raise ServiceError(ErrorCode.TRAINER_TIMEOUT, detail, retry_after_seconds=_BUSY_RETRY_SECONDS)

    async def _push(self, frame: str) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.rpush(self.WAITING, frame)
        pipeline.expire(self.WAITING, round(self._timeout_seconds) + _LAPSE_SECONDS)
        await pipeline.execute()


def require_trainer(living: Collection[Role], for_what: str) -> None:
    """Raise `no_trainer` unless a trainer is among the living workers."""
    if Role.TRAIN not in living:
        detail = f"No trainer is running {for_what}; start one with --role train."
        raise ServiceError(ErrorCode.NO_TRAINER, detail, retry_after_seconds=_START_SECONDS)


def refused(problem: Failure, otherwise: ErrorCode) -> ServiceError:
    """Convert a trainer's error; `otherwise` stands for codes of a newer version that are unknown here."""
    code = ErrorCode(problem.code) if problem.code in set(ErrorCode) else otherwise
    return ServiceError(code, problem.detail, retry_after_seconds=_FAILED_RETRY_SECONDS)
