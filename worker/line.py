"""The line of asks in Redis, as a sampler sees it: it takes the first, or such as may pass the others."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import redis

from contract import keys
from contract.wire import MALFORMED, Ask

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """An ask that waits in a list."""

    ask: Ask
    frame: bytes
    name: str
    """Of the list."""


class Line:
    """Two lists: of the asks to one sampler, by its name, and of those to any. Used by one thread."""

    def __init__(self, connection: redis.Redis, sampler: str) -> None:
        self._redis = connection
        self._lists = [keys.SAMPLES_WAITING_FOR + sampler, keys.SAMPLES_WAITING]
        self._clock_offset_ms = 0.0  # Redis time - ours

    def take(self, most: int, wait_seconds: float) -> list[Ask]:
        """Wait for a frame, pop those that have queued up behind it, and read the time of Redis.

        In one round trip: Redis runs what follows a blocking command in a pipeline once that has ended.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.blpop(self._lists, wait_seconds)
        for name in self._lists:
            pipe.lpop(name, most - 1)
        pipe.time()
        first, *popped, time_of_redis = pipe.execute()
        self._set_clock(*time_of_redis)
        frames = [*(first or ())[1:], *(frame for frames in popped for frame in frames or ())]
        return list(_readable(frames))

    def look(self, most: int) -> list[Seen]:
        """The first asks of each list, which stay there, and the time of Redis."""
        pipe = self._redis.pipeline(transaction=False)
        for name in self._lists:
            pipe.lrange(name, 0, most - 1)
        pipe.time()
        *lists, time_of_redis = pipe.execute()
        self._set_clock(*time_of_redis)
        seen = []
        for name, frames in zip(self._lists, lists, strict=True):
            for frame in frames:
                with suppress(*MALFORMED):  # it is reported when it is taken
                    seen.append(Seen(_read(frame), frame, name))
        return seen

    def remove(self, seen: Sequence[Seen]) -> list[Ask]:
        """Take these, with all copies; returns those that no other sampler has taken meanwhile.

        The rest keep their places, so gateways still find them, and a sampler that dies loses none of them.
        """
        pipe = self._redis.pipeline(transaction=False)
        for one in seen:
            pipe.lrem(one.name, 0, cast("str", one.frame))
        return [one.ask for one, removed in zip(seen, pipe.execute(), strict=True) if removed]

    def seconds_left(self, ask: Ask) -> float:
        """Until its deadline, by Redis TIME as last read."""
        return (ask.deadline_ms - self._clock_offset_ms) / 1000 - time.monotonic()

    def _set_clock(self, seconds: int, microseconds: int) -> None:
        self._clock_offset_ms = seconds * 1000 + microseconds / 1000 - time.monotonic() * 1000


def _readable(frames: Sequence[bytes]) -> Iterator[Ask]:
    """The asks among these: a gateway of another version may send what is none."""
    for frame in frames:
        try:
            yield _read(frame)
        except MALFORMED as error:
            logger.warning("dropped a frame that is no ask: %s: %.200r", error, frame)


def _read(frame: bytes) -> Ask:
    ask = Ask.unpack(frame)
    if [type(ask.id), type(ask.gateway), type(ask.deadline_ms)] != [str, str, int]:
        raise TypeError("its id, gateway or deadline is of a wrong type")
    f"{ask.id}{ask.gateway}".encode()  # both become parts of keys
    return ask
