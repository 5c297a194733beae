"""One pub/sub reader for any number of watchers. It only wakes them; they read changes from the record."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract.keys import CHANGES

_POLL_SECONDS = 0.5
_RECONNECT_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Hub:
    """Wakes a record's watchers when it changes, and all watchers when a change may have been missed."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._watches: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_closing = False

    @contextmanager
    def watch(self, record_key: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the record changes. Clear it before reading, wait for it after."""
        changed = asyncio.Event()
        self._watches[record_key].add(changed)
        try:
            yield changed
        finally:
            self._watches[record_key].discard(changed)
            if not self._watches[record_key]:
                del self._watches[record_key]

    def close(self) -> None:
        """End every stream, and the reader."""
        self.is_closing = True
        self._wake_all()

    async def run(self) -> None:
        """Read the channel until closed, reconnecting when Redis goes away."""
        while not self.is_closing:
            try:
                await self._listen()
            except RedisError as error:
                logger.warning("the channel of changes broke: %s", error)
                await asyncio.sleep(_RECONNECT_SECONDS)
        await self._redis.aclose()

    async def _listen(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(CHANGES)
            self._wake_all()
            while not self.is_closing:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=_POLL_SECONDS)
                if message:
                    self._wake(message["data"].rpartition(":")[0])

    def _wake(self, record_key: str) -> None:
        for changed in self._watches.get(record_key, ()):
            changed.set()

    def _wake_all(self) -> None:
        for record_key in self._watches:
            self._wake(record_key)
