"""Plays a sampler to a gateway, by the contract's own wire."""

import threading
from typing import Any

import redis

from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING, SAMPLES_WAITING_FOR
from contract.wire import Answer, Ask, Stages

STAGES = Stages(batch=1, forward=2, encode=3)


class Sampler(threading.Thread):
    """Plays a sampler: a picture is the text that decides it."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.asks: list[Ask] = []
        self.held = threading.Event()
        self._taking = threading.Lock()
        self.refusal: tuple[Any, str] | None = None
        self._redis = redis.Redis.from_url(url)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            with self._taking:
                frame = None if self.held.is_set() else self._next()
            if frame is None:
                self._ended.wait(0.002)
                continue
            assert isinstance(frame, bytes)
            ask = Ask.unpack(frame)
            self.asks.append(ask)
            code, detail = self.refusal or (None, "")
            content, stages = (b"", None) if code else (ask.spec.canonical().encode(), STAGES)
            answer = Answer(ask.id, "r1", content, code, detail, stages)
            self._redis.rpush(SAMPLES_REPLIES_OF + ask.gateway, answer.pack())

    def _next(self) -> Any:
        return self._redis.lpop(SAMPLES_WAITING_FOR + "sample-1") or self._redis.lpop(SAMPLES_WAITING)

    def hold(self) -> None:
        """Take nothing from now on, until `held` is cleared."""
        with self._taking:
            self.held.set()

    def stop(self) -> None:
        self._ended.set()
        self.join()
