"""The sampling consumer: takes what has queued, renders it portion by portion, answers each in one trip.

Batches come from the backlog, not from a timer: an idle sampler answers one request at once, a busy one
finds many waiting. Requests past their deadline, by Redis TIME, never reach the forward pass. A batch is
bounded in requests; what is in memory at once is a portion of it, bounded in images.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import redis

from contract import keys
from contract.errors import ErrorCode, ServiceError
from contract.wire import Answer, Ask
from worker.engine import Engine
from worker.rendering import Images, admit, encode, kinship, render, shares
from worker.store import connect

logger = logging.getLogger(__name__)

POP_SECONDS = 1
"""A blocking pop ends well before redis-py's socket timeout."""
ANSWER_LIVES_SECONDS = 60
BREATH_SECONDS = 0.2
"""After a failure, so that one that lasts does not fill the log."""
IMAGES_TOGETHER = 256
"""Most images of one portion; a larger sheet is a portion of its own."""


class SampleConsumer(threading.Thread):
    """Runs until stopped. While its renderer is not the deployment's it takes nothing."""

    def __init__(self, url: str, engine: Engine, renderer: str, batch_limit: int) -> None:
        super().__init__(name="sampling", daemon=True)
        self._redis = connect(url, decode=False)
        self._engine = engine
        self._renderer = renderer
        self._batch_limit = batch_limit
        self._end = threading.Event()
        self._active = threading.Event()
        self._verdict: str | None = None

    @property
    def renderer(self) -> str:
        return self._renderer

    @property
    def is_active(self) -> bool:
        return self._active.is_set()

    @property
    def is_well(self) -> bool:
        """Whether the thread runs, or is not meant to: it was not started yet, or was told to end."""
        return self.ident is None or self._end.is_set() or self.is_alive()

    def adopt(self, verdict: str) -> None:
        """Heed the store's answer to `hello`: `active`, or the renderer this deployment is bound to."""
        if verdict == self._verdict:
            return
        self._verdict = verdict
        if verdict == "active":
            self._active.set()
        else:
            self._active.clear()
            logger.warning("idle: this deployment renders as %s, this sampler as %s", verdict, self._renderer)

    def run(self) -> None:
        while not self._end.is_set():
            if not self._active.wait(POP_SECONDS):
                continue
            try:
                for portion in portions(self._take()):
                    self._send(self._answer(portion))
            except redis.RedisError as error:
                logger.warning("sampling Redis is away: %s", error)
                self._end.wait(BREATH_SECONDS)
            except Exception:
                logger.exception("a batch was lost; its gateways ask again")
                self._end.wait(BREATH_SECONDS)

    def stop(self) -> None:
        """Finish the batch in hand, then end."""
        self._end.set()
        if self.is_alive():
            self.join(timeout=8)

    def _take(self) -> list[Ask]:
        first = cast("tuple[bytes, bytes] | None", self._redis.blpop([keys.SAMPLES_WAITING], POP_SECONDS))
        if first is None:
            return []
        pipe = self._redis.pipeline(transaction=False)
        pipe.lpop(keys.SAMPLES_WAITING, self._batch_limit)
        pipe.time()
        backlog, (seconds, microseconds) = pipe.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        asks = [_read(frame) for frame in [first[1], *(backlog or [])]]
        return [ask for ask in asks if ask is not None and ask.deadline_ms > now_ms]

    def _answer(self, portion: Sequence[Ask]) -> list[tuple[str, Answer]]:
        try:
            sampler = self._engine.sampler(portion[0].spec.digest, portion[0].place)
            welcome, refused = admit(sampler, portion)
            images = render(sampler, welcome)
        except ServiceError as refusal:
            return [self._refuse(ask, refusal.code, refusal.detail) for ask in portion]
        except Exception:
            logger.exception("a portion of %d asks failed", len(portion))
            return [
                self._refuse(ask, ErrorCode.INTERNAL, "the sampler failed; see its log") for ask in portion
            ]
        return [
            *(self._refuse(ask, ErrorCode.INVALID_REQUEST, detail) for ask, detail in refused),
            *(self._encode(ask, own) for ask, own in shares(images, welcome)),
        ]

    def _encode(self, ask: Ask, images: Images) -> tuple[str, Answer]:
        try:
            content = encode(images, ask.spec)
        except Exception:
            logger.exception("%s could not be encoded", ask.spec.canonical())
            return self._refuse(ask, ErrorCode.INTERNAL, "the sampler could not encode this; see its log")
        return ask.gateway, Answer(ask.id, self._renderer, content)

    def _refuse(self, ask: Ask, code: ErrorCode, detail: str) -> tuple[str, Answer]:
        return ask.gateway, Answer(ask.id, self._renderer, b"", code, detail)

    def _send(self, answers: Sequence[tuple[str, Answer]]) -> None:
        by_gateway: defaultdict[str, list[bytes]] = defaultdict(list)
        for gateway, answer in answers:
            by_gateway[gateway].append(answer.pack())
        pipe = self._redis.pipeline(transaction=False)
        for gateway, frames in by_gateway.items():
            pipe.rpush(keys.SAMPLES_REPLIES_OF + gateway, *frames)
            pipe.expire(keys.SAMPLES_REPLIES_OF + gateway, ANSWER_LIVES_SECONDS)
        pipe.execute()


def portions(asks: Sequence[Ask]) -> list[list[Ask]]:
    """What is rendered together: asks of one generator, either all for one image or all for sheets.

    They come in the order of their largest asks: a single image never waits for a sheet of its batch.
    """
    cut: list[list[Ask]] = []
    for ask in sorted(asks, key=lambda ask: (kinship(ask.spec), ask.spec.count)):
        if cut and _fits(ask, cut[-1]):
            cut[-1].append(ask)
        else:
            cut.append([ask])
    return sorted(cut, key=lambda portion: portion[-1].spec.count)


def _fits(ask: Ask, portion: Sequence[Ask]) -> bool:
    images = sum(asked.spec.count for asked in portion) + ask.spec.count
    return kinship(portion[-1].spec) == kinship(ask.spec) and images <= IMAGES_TOGETHER


def _read(frame: bytes) -> Ask | None:
    """The ask, or None when it cannot be understood: a gateway of another version may have sent it."""
    try:
        ask = Ask.unpack(frame)
        if [type(ask.id), type(ask.gateway), type(ask.deadline_ms)] != [str, str, int]:
            raise TypeError("its id, gateway or deadline is of a wrong type")
        ask.gateway.encode()  # it becomes part of a key
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        logger.warning("dropped a frame that is no ask: %s: %.200r", error, frame)
        return None
    return ask
