"""A thread of a trainer that does what gateways ask for beside its jobs: each ask in a child of its own."""

import logging
import threading
import time
from typing import Generic, Protocol, TypeVar, cast

import redis
from pydantic import ValidationError

from contract.plugin import Frozen
from worker.readings import Readings
from worker.settings import Settings
from worker.store import connect

logger = logging.getLogger(__name__)

POP_SECONDS = 1
"""A blocking pop ends well before redis-py's socket timeout."""
DEFERENCE_SECONDS = 0.3
"""A trainer that trains looks so seldom: an idle one is faster, answers better, and goes first."""
PATIENCE_SECONDS = 0.1
"""Between two looks at whether a job has come, while the child says nothing."""
MARGIN_SECONDS = 0.5
"""For the answer's way back."""
ANSWER_LIVES_SECONDS = 30
BREATH_SECONDS = 0.2
"""After a failure, so that one that lasts does not fill the log."""


class Asked(Protocol):
    """What every ask has."""

    id: str
    deadline_ms: int


A = TypeVar("A", bound=Frozen)


class Errands(threading.Thread, Generic[A]):
    """Runs until stopped. It holds no device, no lease and no file: what happens to it costs an answer."""

    ASK: type[A]
    WAITING: str
    REPLY_OF: str

    def __init__(self, settings: Settings, readings: Readings, is_warm: threading.Event) -> None:
        super().__init__(name=type(self).__name__.lower(), daemon=True)
        self._settings = settings
        self._redis = connect(settings.redis_url)
        self._readings = readings
        self._is_warm = is_warm
        self._end = threading.Event()

    def do(self, ask: A, deadline: float) -> Frozen | None:
        """The answer by the deadline, a monotonic time; None if this worker ends before."""
        raise NotImplementedError

    def run(self) -> None:
        while not self._end.is_set():
            if not self._is_warm.wait(POP_SECONDS):
                continue
            try:
                taken = self._take()
                if taken:
                    self._answer(*taken)
            except redis.RedisError as error:
                logger.warning("no %s, Redis is away: %s", self.name, error)
                self._end.wait(BREATH_SECONDS)
            except Exception:
                logger.exception("an ask was lost; its gateway says so at its deadline")
                self._end.wait(BREATH_SECONDS)

    def end(self) -> None:
        """Take no more; an ask in hand is dropped, and its gateway says so at its deadline."""
        self._end.set()

    def stop(self) -> None:
        """End, and wait for it a little."""
        self.end()
        if self.is_alive():
            self.join(timeout=3)

    def _take(self) -> tuple[A, str, float] | None:
        """The next ask that somebody still waits for, its id, and how long they will."""
        frame = self._pop()
        if frame is None:
            return None
        try:
            ask = self.ASK.model_validate_json(frame)
        except ValidationError as error:
            logger.warning("dropped an ask that cannot be read, perhaps of another version: %s", error)
            return None
        asked = cast("Asked", ask)
        seconds, microseconds = self._redis.time()
        left_seconds = asked.deadline_ms / 1000 - (seconds + microseconds / 1e6) - MARGIN_SECONDS
        return (ask, asked.id, left_seconds) if left_seconds > 0 else None

    def _pop(self) -> str | None:
        if self._readings.in_training:
            self._end.wait(DEFERENCE_SECONDS)
            return cast("str | None", self._redis.lpop(self.WAITING))
        popped = cast("tuple[str, str] | None", self._redis.blpop([self.WAITING], timeout=POP_SECONDS))
        return popped[1] if popped else None

    def _answer(self, ask: A, ask_id: str, left_seconds: float) -> None:
        answer = self.do(ask, time.monotonic() + left_seconds)
        if answer is not None:
            self._redis.set(self.REPLY_OF + ask_id, answer.model_dump_json(), ex=ANSWER_LIVES_SECONDS)
