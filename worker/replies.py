"""Encodes and sends rendered images on a separate thread, while the next portion is rendered.

A sample that was alone in its batch is sent by the thread that rendered it, which has nothing else to render:
waking the other thread takes longer than encoding. So is what is rendered in a pause of a heavy portion, and
what is brief while the other thread encodes a sheet.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from contract import keys
from contract.errors import ErrorCode
from contract.wire import Answer, Ask, Stages
from worker.portions import is_heavy
from worker.rendering import Images, encode, shares
from worker.store import connect

logger = logging.getLogger(__name__)

ANSWER_LIVES_SECONDS = 60
PORTIONS_AHEAD = 1
"""Rendered portions that may wait here: enough to even out variations between the two threads."""


@dataclass(frozen=True)
class Rendered:
    """The images of a portion of asks, in order, and when they were made."""

    asks: Sequence[Ask]
    images: Images
    taken_at: float
    """In seconds of the monotonic clock, like those below."""
    begun_at: float
    ended_at: float
    seconds_each: float
    """What a sample of this generator takes in full batches."""


@dataclass(frozen=True)
class Refused:
    """Asks that are refused for the same reason."""

    asks: Sequence[Ask]
    code: ErrorCode
    detail: str
    field: str = ""
    """The field of their specs to change, if it is one."""


class Replies(threading.Thread):
    """Runs until stopped, then finishes what it was given."""

    def __init__(self, url: str, renderer: str) -> None:
        super().__init__(name="replies", daemon=True)
        self._redis = connect(url, decode=False)
        self._renderer = renderer
        self._given: queue.Queue[Rendered | Refused | None] = queue.Queue(PORTIONS_AHEAD)
        self._unsent: dict[str, bool] = {}
        """What was given but is not answered yet: by id of the ask, whether its portion is heavy."""

    def give(self, made: Rendered | Refused, *, at_once: bool = False) -> None:
        """Accept a portion, which blocks while another is waiting, or encode and send it before returning."""
        is_slow = isinstance(made, Rendered) and is_heavy(made.asks)
        self._unsent.update((ask.id, is_slow) for ask in made.asks)
        if at_once:
            self._answer(made)
        else:
            self._given.put(made)

    def has(self, ask: Ask) -> bool:
        """Whether the answer is on its way, for which an impatient gateway may have asked once more."""
        return ask.id in self._unsent

    @property
    def are_slow(self) -> bool:
        """Whether what is given now would wait until a sheet is encoded."""
        return any(list(self._unsent.values()))  # of a copy, as another thread removes some

    def run(self) -> None:
        while (made := self._given.get()) is not None:
            self._answer(made)

    def stop(self, timeout_seconds: float) -> None:
        """Finish what was given, within the timeout. The giving thread must have ended."""
        until = time.monotonic() + timeout_seconds
        with contextlib.suppress(queue.Full):
            self._given.put(None, timeout=timeout_seconds)
        self.join(max(0.0, until - time.monotonic()))

    def _answer(self, made: Rendered | Refused) -> None:
        try:
            self._send(self._refuse(made) if isinstance(made, Refused) else self._encode_all(made))
        except redis.RedisError as error:
            logger.warning("%d answers were lost, their gateways ask again: %s", len(made.asks), error)
        except Exception:
            logger.exception("%d answers were lost; their gateways ask again", len(made.asks))
        finally:
            for ask in made.asks:
                self._unsent.pop(ask.id, None)

    def _refuse(self, refused: Refused) -> list[tuple[str, Answer]]:
        return [
            (
                ask.gateway,
                Answer(ask.id, self._renderer, b"", refused.code, refused.detail, field=refused.field),
            )
            for ask in refused.asks
        ]

    def _encode_all(self, rendered: Rendered) -> list[tuple[str, Answer]]:
        return [
            (ask.gateway, self._encode(ask, images, rendered))
            for ask, images in shares(rendered.images, rendered.asks)
        ]

    def _encode(self, ask: Ask, images: Images, rendered: Rendered) -> Answer:
        try:
            content = encode(images, ask.spec)
        except Exception:
            logger.exception("%s could not be encoded", ask.spec.canonical())
            detail = "the sampler could not encode this; see its log"
            return Answer(ask.id, self._renderer, b"", ErrorCode.INTERNAL, detail)
        stages = Stages(
            batch=1000 * (rendered.begun_at - rendered.taken_at),
            forward=1000 * (rendered.ended_at - rendered.begun_at),
            encode=1000 * (time.monotonic() - rendered.ended_at),
            each=1000 * rendered.seconds_each,
        )
        return Answer(ask.id, self._renderer, content, stages=stages)

    def _send(self, answers: Sequence[tuple[str, Answer]]) -> None:
        by_gateway: defaultdict[str, list[bytes]] = defaultdict(list)
        for gateway, answer in answers:
            by_gateway[gateway].append(answer.pack())
        pipe = self._redis.pipeline(transaction=False)
        for gateway, frames in by_gateway.items():
            pipe.rpush(keys.SAMPLES_REPLIES_OF + gateway, *frames)
            pipe.expire(keys.SAMPLES_REPLIES_OF + gateway, ANSWER_LIVES_SECONDS)
        # With raise_on_error, redis-py formats everything sent into the error: seconds for a large sheet.
        for result in pipe.execute(raise_on_error=False):
            if isinstance(result, redis.RedisError):
                raise result
