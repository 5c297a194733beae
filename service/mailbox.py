"""Sends requests to the samplers and receives their answers, through two lists in Redis.

Requests that arrive during a push are batched into the next one, and one reader resolves all answers, so the
cost per request falls as the load rises. Blocking commands are not cancelled before the end (redis-py #2579).
"""

import asyncio
import logging
import secrets
import time
from dataclasses import replace

from redis.exceptions import RedisError

from contract.errors import ErrorCode, FieldError, ServiceError
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING, SAMPLES_WITHDRAWN_OF
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import MALFORMED, Answer, Ask
from service.line import Line, Waiting
from service.load import Load
from service.redis_client import awaited, connect
from service.refusals import store_unavailable

_ANSWERS_AT_ONCE = 32
"""Each becomes a response before the event loop sees new requests; this many take it about 3 ms."""
_ANSWER_SECONDS = 10.0
"""Read timeout. An answer may have 64 MiB, and is lost if it was popped but is not read in time."""
_BLOCK_SECONDS = 0.25
_END_SECONDS = 2 * _BLOCK_SECONDS
_LOOK_SECONDS = 0.1
_LOOK_AT = 16
_RECONNECT_SECONDS = 0.2
_CLOCK_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Mailbox:
    """The gateway's end of the connection to the samplers."""

    def __init__(self, redis_url: str, *, timeout_seconds: float, queue_limit: int) -> None:
        self.name = secrets.token_hex(6)
        self.load = Load(most_images=queue_limit, timeout_seconds=timeout_seconds)
        self.line = Line(self.load, timeout_seconds=timeout_seconds)
        self._sender = connect(redis_url, connections=2, decode=False)
        self._receiver = connect(
            redis_url, connections=1, decode=False, retries=0, reply_seconds=_ANSWER_SECONDS
        )
        self._timeout_seconds = timeout_seconds
        self._outbox: dict[str, Waiting] = {}  # by the ask's id
        self._pushed_place = 0
        self._withdrawn: list[Waiting] = []
        self._posted = asyncio.Event()
        self._clock_offset_ms: float | None = None  # Redis time - ours
        self._closing = asyncio.Event()

    def deadline(self, begun_at: float) -> float:
        """Until when a request that began then may wait, by the monotonic clock."""
        return begun_at + self._timeout_seconds

    async def ask(self, spec: SampleSpec, place: CheckpointPlace, until: float) -> Answer:
        """Return the samplers' answer. Cancelling this withdraws the request.

        Raises:
            ServiceError: `sampler_busy`, `sampler_timeout`, the sampler's own error, whose `fields` are of
                the spec, or `store_unavailable` if the sampling Redis is unreachable or full.
        """
        try:
            return await self._ask(spec, place, until)
        except RedisError as error:
            raise store_unavailable("The sampling Redis does not answer, or is full") from error

    async def _ask(self, spec: SampleSpec, place: CheckpointPlace, until: float) -> Answer:
        self.load.require_room(spec)
        if self._clock_offset_ms is None:
            await asyncio.shield(self._read_clock())
        waiting = self._post(spec, place, until)
        left_seconds = until - time.monotonic()
        expiry = asyncio.get_running_loop().call_later(left_seconds, self._expire, waiting)
        try:
            answer = await waiting.answer
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise
        finally:
            expiry.cancel()
            self.line.leave(waiting)
        if answer.error:
            fields = (FieldError(answer.field, answer.detail),) if answer.field else ()
            raise ServiceError(answer.error, answer.detail, fields=fields)
        return answer

    async def ping(self) -> None:
        """Raise RedisError unless the sampling Redis answers."""
        await awaited(self._sender.ping())

    async def run(self) -> None:
        """Push requests and read answers until closed."""
        pusher = asyncio.create_task(self._push())
        reader = asyncio.create_task(self._read())
        await self._closing.wait()
        await asyncio.wait([reader], timeout=_END_SECONDS)
        for task in (reader, pusher):  # a Redis that hangs would be waited for; its connections end here
            task.cancel()
        await asyncio.gather(reader, pusher, return_exceptions=True)
        await self._sender.aclose()
        await self._receiver.aclose()

    def close(self) -> None:
        """Stop `run`, within half a second."""
        self._closing.set()

    def _post(self, spec: SampleSpec, place: CheckpointPlace, until: float) -> Waiting:
        ask = Ask(secrets.token_hex(8), self.name, self._deadline_ms(until), spec, place)
        waiting = Waiting(ask, ask.pack(), until, asyncio.get_running_loop().create_future())
        self.line.join(waiting, time.monotonic())
        self._send([waiting])
        return waiting

    def _deadline_ms(self, until: float) -> int:
        """This moment by the clock of Redis, as last read."""
        assert self._clock_offset_ms is not None
        return round(until * 1000 + self._clock_offset_ms)

    def _expire(self, waiting: Waiting) -> None:
        error = ServiceError(
            ErrorCode.SAMPLER_TIMEOUT,
            f"No sampler answered within {self._timeout_seconds:g} s; ask again, or for fewer images.",
            retry_after_seconds=self.load.seconds_to_empty,
        )
        _fail(waiting, error)

    def _withdraw(self, waiting: Waiting) -> None:
        """Have it removed from the list, or from the work of the sampler that has taken it."""
        if self._outbox.pop(waiting.ask.id, None) is None or waiting.askings > 1:
            self._withdrawn.append(waiting)
            self._posted.set()

    def _send(self, asked: list[Waiting]) -> None:
        self._outbox.update((one.ask.id, one) for one in asked)
        self._posted.set()

    async def _push(self) -> None:
        while True:
            await self._posted.wait()
            self._posted.clear()
            asked, self._outbox = list(self._outbox.values()), {}
            withdrawn, self._withdrawn = self._withdrawn, []
            try:
                taken = await self._remove(withdrawn) if withdrawn else []
                if asked:
                    await awaited(self._sender.rpush(SAMPLES_WAITING, *(one.frame for one in asked)))
                    self._pushed_place = max([self._pushed_place, *(one.place for one in asked)])
                    asked = []  # no failure affects them from here on
                if taken:
                    await self._notify_samplers(taken)
            except Exception as error:
                if not isinstance(error, RedisError):
                    logger.exception("asks were not pushed by a mistake of ours")
                for one in asked:
                    _fail(one, error)

    async def _remove(self, withdrawn: list[Waiting]) -> list[Waiting]:
        """Remove these from the list: 4 µs of Redis with 64 entries, 70 with 1,024. Return those taken."""
        pipeline = self._sender.pipeline(transaction=False)
        for one in withdrawn:
            pipeline.lrem(SAMPLES_WAITING, 0, one.frame)
        removed = await pipeline.execute()
        return [one for one, count in zip(withdrawn, removed, strict=True) if count < one.askings]

    async def _notify_samplers(self, taken: list[Waiting]) -> None:
        """Whichever of them has taken these may give them up."""
        pipeline = self._sender.pipeline(transaction=False)
        for one in taken:
            pipeline.set(SAMPLES_WITHDRAWN_OF + one.ask.id, b"", pxat=one.ask.deadline_ms)
        await pipeline.execute()

    async def _read(self) -> None:
        broke = False
        while not self._closing.is_set():
            try:
                await self._read_clock()
                if broke:
                    await self._find_all_lost()
                    broke = False
                await self._read_answers()
            except RedisError as error:
                logger.warning("the sampling Redis does not answer: %s", error)
                broke = True
                await asyncio.sleep(_RECONNECT_SECONDS)
            except Exception:
                logger.exception("answers were not read by a mistake of ours")
                broke = True
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _read_answers(self) -> None:
        """Read answers until the clock is due to be read again."""
        key = SAMPLES_REPLIES_OF + self.name
        until = time.monotonic() + _CLOCK_SECONDS
        look_at = 0.0
        while not self._closing.is_set() and (now := time.monotonic()) < until:
            first = await awaited(self._receiver.blpop([key], _BLOCK_SECONDS))
            if first is not None:
                self._take(first[1])
                if self.line and not self.load.is_any_large:  # more may have arrived, all of them small
                    for frame in await awaited(self._receiver.lpop(key, _ANSWERS_AT_ONCE)) or ():
                        self._take(frame)
            if self.line and now > look_at:
                await self._find_lost(is_silent=first is None)
                look_at = now + _LOOK_SECONDS

    def _take(self, frame: bytes) -> None:
        try:
            answer = Answer.unpack(frame)
            waiting = self.line.find(answer.id)
        except MALFORMED:  # from a newer sampler, say
            logger.exception("an answer that cannot be read was dropped")
            return
        if waiting and not waiting.answer.done():
            if answer.error:
                self.line.refused(waiting)
            else:
                self.line.answered(waiting, time.monotonic(), answer.stages.each if answer.stages else 0)
            waiting.answer.set_result(answer)
            if waiting.askings > 1:
                self._withdraw(waiting)

    async def _find_lost(self, *, is_silent: bool) -> None:
        """Push again the requests that seem to be lost with their samplers."""
        if is_silent:  # no answer shows how far the samplers are
            await self._look_into_the_list()
        if passed := self.line.passed(_LOOK_AT):
            await self._look_for(passed)
        if lost := self.line.lost(time.monotonic()):
            logger.warning("%d asks were taken and not answered; asking again", len(lost))
            await self._read_clock()  # if it has stepped forward, samplers took them for expired
            self._ask_again(lost)

    async def _look_for(self, passed: list[Waiting]) -> None:
        """Those that are not in the list were taken, and not only passed by brief ones."""
        pipeline = self._receiver.pipeline(transaction=False)
        for one in passed:
            pipeline.lpos(SAMPLES_WAITING, one.frame)
        for one, found in zip(passed, await pipeline.execute(), strict=True):
            if found is None:
                one.taken_since = time.monotonic()

    async def _look_into_the_list(self) -> None:
        """Our requests that are no longer in the list were taken; it may still hold other gateways' ones."""
        pushed = self._pushed_place
        looked_at = self.line.first_waiting(_LOOK_AT, pushed)
        pipeline = self._receiver.pipeline(transaction=False)
        pipeline.llen(SAMPLES_WAITING)
        for one in looked_at:
            pipeline.lpos(SAMPLES_WAITING, one.frame)
        length, *positions = await pipeline.execute()
        taken = [one.place for one, found in zip(looked_at, positions, strict=True) if found is None]
        self.line.take_up_to(max(taken, default=0) if length else pushed)

    async def _find_all_lost(self) -> None:
        """After a lost connection, if the list is empty, Redis may have lost it: push all requests again."""
        pushed = [one for one in self.line.all() if one.place <= self._pushed_place]
        lost = [one for one in pushed if one.may_be_asked_again]
        if lost and not await awaited(self._receiver.llen(SAMPLES_WAITING)):
            self._ask_again(lost)

    def _ask_again(self, lost: list[Waiting]) -> None:
        """Push those of them that still wait, with their deadlines by the clock as last read."""
        lost = [one for one in lost if self.line.find(one.ask.id)]
        for one in lost:
            one.ask = replace(one.ask, deadline_ms=self._deadline_ms(one.until))
            one.frame = one.ask.pack()
        self.line.again(lost)
        self._send(lost)

    async def _read_clock(self) -> None:
        before = time.monotonic()
        seconds, microseconds = await self._sender.time()
        between = (before + time.monotonic()) / 2
        self._clock_offset_ms = seconds * 1000 + microseconds / 1000 - between * 1000


def _fail(waiting: Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
