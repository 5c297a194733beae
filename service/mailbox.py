"""Asks the samplers and awaits their answers, through two lists in Redis.

What arrives while a push is in flight goes with the next one, and one reader resolves all answers, so
the cost per request falls as the load rises. Nothing here cancels a blocking command (redis-py #2579).
"""

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from contract.errors import ErrorCode, ServiceError
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Answer, Ask
from service.store import connect, reply

_ANSWERS_AT_ONCE = 256
_BLOCK_SECONDS = 0.5
_RECONNECT_SECONDS = 0.2
_CLOCK_SECONDS = 10.0
_LOST_SECONDS = 3.0

log = logging.getLogger(__name__)


@dataclass
class _Pending:
    ask: Ask
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.monotonic)
    asked_again: bool = False


class Mailbox:
    """The gateway's side of the sampling wire."""

    def __init__(self, redis_url: str, *, timeout_seconds: float, queue_limit: int) -> None:
        self.name = uuid.uuid4().hex[:12]
        self._sender = connect(redis_url, connections=2, decode=False)
        self._receiver = connect(redis_url, connections=1, decode=False, retries=0)
        self._timeout_seconds = timeout_seconds
        self._queue_limit = queue_limit
        self._pending: dict[str, _Pending] = {}  # by the id of the ask
        self._outbox: list[Ask] = []
        self._posted = asyncio.Event()
        self._clock_offset_ms: float | None = None  # Redis time - ours
        self._last_answer_seconds = 1.0
        self._is_closing = False

    async def ask(self, spec: SampleSpec, place: CheckpointPlace) -> Answer:
        """The samplers' answer.

        Raises:
            ServiceError: `sampler_busy`, `sampler_timeout`, or what the sampler refused.
            RedisError: the sampling Redis is away.
        """
        if self._clock_offset_ms is None:
            await self._read_clock()
        answer = await self._post(spec, place).answer
        if answer.error:
            raise ServiceError(answer.error, answer.detail)
        return answer

    async def ping(self) -> None:
        """Raise RedisError unless the sampling Redis answers."""
        await reply(self._sender.ping())

    async def run(self) -> None:
        """Push and read until closed."""
        pusher = asyncio.create_task(self._push())
        await self._read()
        pusher.cancel()
        await asyncio.gather(pusher, return_exceptions=True)
        await self._sender.aclose()
        await self._receiver.aclose()

    def close(self) -> None:
        """Let the reader end, within half a second."""
        self._is_closing = True

    def _post(self, spec: SampleSpec, place: CheckpointPlace) -> _Pending:
        if len(self._pending) >= self._queue_limit:
            raise ServiceError(
                ErrorCode.SAMPLER_BUSY,
                f"{self._queue_limit} requests are waiting for a sampler already; ask again in a moment.",
                retry_after_seconds=self._last_answer_seconds,
            )
        assert self._clock_offset_ms is not None
        deadline_ms = time.monotonic() * 1000 + self._clock_offset_ms + self._timeout_seconds * 1000
        ask = Ask(uuid.uuid4().hex[:16], self.name, round(deadline_ms), spec, place)
        pending = _Pending(ask, asyncio.get_running_loop().create_future())
        self._pending[ask.id] = pending
        expiry = asyncio.get_running_loop().call_later(self._timeout_seconds, self._expire, ask.id)
        pending.answer.add_done_callback(lambda _answer: self._forget(ask.id, expiry))
        self._send([ask])
        return pending

    def _forget(self, ask_id: str, expiry: asyncio.TimerHandle) -> None:
        expiry.cancel()
        del self._pending[ask_id]

    def _expire(self, ask_id: str) -> None:
        self._fail(
            ask_id,
            ServiceError(
                ErrorCode.SAMPLER_TIMEOUT,
                f"No sampler answered within {self._timeout_seconds:g} s; ask again, or for fewer images.",
                retry_after_seconds=self._last_answer_seconds,
            ),
        )

    def _fail(self, ask_id: str, error: Exception) -> None:
        pending = self._pending.get(ask_id)
        if pending and not pending.answer.done():
            pending.answer.set_exception(error)

    def _send(self, asks: list[Ask]) -> None:
        self._outbox.extend(asks)
        self._posted.set()

    async def _push(self) -> None:
        while True:
            await self._posted.wait()
            self._posted.clear()
            asks, self._outbox = self._outbox, []
            try:
                await reply(self._sender.rpush(SAMPLES_WAITING, *(ask.pack() for ask in asks)))
            except RedisError as error:
                for ask in asks:
                    self._fail(ask.id, error)

    async def _read(self) -> None:
        while not self._is_closing:
            try:
                await self._read_clock()
                await self._read_answers()
            except RedisError as error:
                log.warning("the sampling Redis does not answer: %s", error)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _read_answers(self) -> None:
        """Read until the clock is to be looked at again."""
        key = SAMPLES_REPLIES_OF + self.name
        until = time.monotonic() + _CLOCK_SECONDS
        while not self._is_closing and time.monotonic() < until:
            first = await reply(self._receiver.blpop([key], _BLOCK_SECONDS))
            if first is None:
                await self._ask_again()
                continue
            self._take(first[1])
            for frame in await reply(self._receiver.lpop(key, _ANSWERS_AT_ONCE)) or ():
                self._take(frame)

    def _take(self, frame: bytes) -> None:
        try:
            answer = Answer.unpack(frame)
        except ValueError:
            log.exception("an answer that cannot be read was dropped")
            return
        pending = self._pending.get(answer.id)
        if pending and not pending.answer.done():
            self._last_answer_seconds = time.monotonic() - pending.since
            pending.answer.set_result(answer)

    async def _ask_again(self) -> None:
        """Silence, an empty queue and somebody who waits: a sampler or Redis died with the asks. Once."""
        late = time.monotonic() - _LOST_SECONDS
        lost = [one for one in self._pending.values() if one.since < late and not one.asked_again]
        if lost and not await reply(self._receiver.llen(SAMPLES_WAITING)):
            for pending in lost:
                pending.asked_again = True
            self._send([pending.ask for pending in lost])

    async def _read_clock(self) -> None:
        before = time.monotonic()
        seconds, microseconds = await self._sender.time()
        between = (before + time.monotonic()) / 2
        self._clock_offset_ms = seconds * 1000 + microseconds / 1000 - between * 1000
