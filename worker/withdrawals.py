"""Which of the asks that a sampler has taken were withdrawn: all their clients have disconnected.

A gateway removes such an ask from the list; if a sampler has taken it, the gateway leaves a notice instead.
Looking for notices costs a round trip to Redis, so only work that takes longer than most does it.
"""

import logging
import time
from collections.abc import Mapping
from typing import cast

import redis

from contract.keys import SAMPLES_WITHDRAWN_OF

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""A batch is looked up once its first ask was taken that long ago, and that often. Most are done by then."""
PAUSE_SECONDS = 10.0
"""From a failed look to the next: each can take seconds, in which nothing is rendered."""


class Withdrawals:
    """The ids of the asks that were withdrawn, as of the last look. Used by one thread."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._ids: set[str] = set()
        self._look_at = 0.0

    def __contains__(self, ask_id: str) -> bool:
        return ask_id in self._ids

    def look(self, taken_at: Mapping[str, float]) -> None:
        """Look up these asks, taken at these times of the monotonic clock, if it is time to.

        If Redis fails, they count as awaited.
        """
        now = time.monotonic()
        if now < self._look_at or now - min(taken_at.values(), default=now) < LOOK_SECONDS:
            return
        self._look_at = now + LOOK_SECONDS
        try:
            notices = self._redis.mget([SAMPLES_WITHDRAWN_OF + ask_id for ask_id in taken_at])
        except redis.RedisError as error:
            logger.warning("withdrawn asks could not be looked up: %s", error)
            self._look_at = time.monotonic() + PAUSE_SECONDS
        else:
            found = zip(taken_at, cast("list[bytes | None]", notices), strict=True)
            self._ids = {ask_id for ask_id, notice in found if notice is not None}
