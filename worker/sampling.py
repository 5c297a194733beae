"""The sampling consumer: takes what has queued, renders it generator by generator, answers in one trip.

Batches come from the backlog, not from a timer: an idle sampler answers one request at once, a busy one
finds many waiting. Requests past their deadline, by Redis TIME, never reach the forward pass.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import numpy as np
import redis
from numpy.typing import NDArray

from contract import keys
from contract.errors import ErrorCode, ServiceError
from contract.wire import Answer, Ask
from worker.engine import Engine
from worker.formats import FORMATS
from worker.store import connect

logger = logging.getLogger(__name__)

POP_SECONDS = 1
"""A blocking pop ends well before redis-py's socket timeout."""
ANSWER_LIVES_SECONDS = 60


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

    @property
    def renderer(self) -> str:
        return self._renderer

    @property
    def is_active(self) -> bool:
        return self._active.is_set()

    def adopt(self, verdict: str) -> None:
        """Heed the store's answer to `hello`: `active`, or the renderer this deployment is bound to."""
        if verdict == "active":
            self._active.set()
            return
        if self._active.is_set() or not self._end.is_set():
            logger.warning("idle: this deployment renders as %s, this sampler as %s", verdict, self._renderer)
        self._active.clear()

    def run(self) -> None:
        while not self._end.is_set():
            if not self._active.wait(POP_SECONDS):
                continue
            try:
                self._serve(self._take())
            except redis.RedisError as error:
                logger.warning("sampling Redis is away: %s", error)
                self._end.wait(0.2)

    def stop(self) -> None:
        """Finish the batch in hand, then end."""
        self._end.set()
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
        asks = [Ask.unpack(frame) for frame in [first[1], *(backlog or [])]]
        return [ask for ask in asks if ask.deadline_ms > now_ms]

    def _serve(self, asks: Sequence[Ask]) -> None:
        by_generator: defaultdict[str, list[Ask]] = defaultdict(list)
        for ask in asks:
            by_generator[ask.spec.digest].append(ask)
        for group in by_generator.values():
            self._send(self._answer(group))

    def _answer(self, group: Sequence[Ask]) -> list[tuple[str, Answer]]:
        seeds = [seed for ask in group for seed in range(ask.spec.seed, ask.spec.seed + ask.spec.count)]
        try:
            pictures = self._engine.render(group[0].spec.digest, group[0].place, seeds)
        except ServiceError as refusal:
            return [self._refuse(ask, refusal.code, refusal.detail) for ask in group]
        except Exception:
            logger.exception("a batch of %d seeds failed", len(seeds))
            return [self._refuse(ask, ErrorCode.INTERNAL, "the sampler failed; see its log") for ask in group]
        answers = []
        start = 0
        for ask in group:
            answers.append(self._encode(ask, pictures[start : start + ask.spec.count]))
            start += ask.spec.count
        return answers

    def _encode(self, ask: Ask, tiles: NDArray[np.uint8]) -> tuple[str, Answer]:
        content = FORMATS[ask.spec.format](tiles, ask.spec)
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
