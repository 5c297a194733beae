"""A trainer's thread that serves gateways' requests beside its jobs, each in a child process."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import redis
from pydantic import ValidationError

from contract.job import Failure
from contract.plugin import Frozen
from contract.rare_warning import RareWarning
from contract.trainers import TrainerAnswer, TrainerAsk
from worker import link
from worker.child import Child
from worker.process import WorkerProcess
from worker.readings import Readings
from worker.store import BREATH_SECONDS, POP_SECONDS, connect

logger = logging.getLogger(__name__)

DEFERENCE_SECONDS = 0.3
"""A busy trainer polls at this interval, so that idle ones, which answer faster and better, go first."""
POLL_SECONDS = 0.1
"""Interval between checks for a new job while the child is silent."""
MARGIN_SECONDS = 0.5
"""Reserved for sending the answer back."""
ANSWER_LIVES_SECONDS = 30

A = TypeVar("A", bound=TrainerAsk)
W = TypeVar("W", bound=Frozen)
R = TypeVar("R", bound=TrainerAnswer)


class RequestServer(threading.Thread, ABC, Generic[A, W, R]):
    """Runs until stopped. It holds no device, lease or file: if it fails, only an answer is lost.

    It turns each ask `A` into an order `W` for a child that runs `WORK`, and its messages into an answer `R`.
    """

    ASK: type[A]
    ANSWER: type[R]
    WAITING: str
    REPLY_OF: str
    WORK: str

    def __init__(
        self,
        worker: WorkerProcess,
        start_child: Callable[[], Child],
        readings: Readings,
        is_warm: threading.Event,
    ) -> None:
        super().__init__(name=type(self).__name__.lower(), daemon=True)
        self._worker = worker
        self._start_child = start_child
        self._redis = connect(worker.settings.redis_url)
        self._readings = readings
        self._is_warm = is_warm
        self._end = threading.Event()
        self._away = RareWarning(logger)

    @abstractmethod
    def order(self, ask: A) -> W:
        """The child's order for an ask."""

    @abstractmethod
    def hear(self, message: link.Message) -> R | None:
        """The answer contained in a message of the child, if any."""

    @abstractmethod
    def failure(self, why: str) -> Failure:
        """The problem reported to the gateway when the work fails through no fault of the ask."""

    def run(self) -> None:
        while not self._end.is_set():
            if not self._is_warm.wait(POP_SECONDS):
                continue
            try:
                taken = self._take()
                if taken:
                    self._answer(*taken)
            except redis.RedisError as error:
                self._away.log("no %s, Redis is away: %s", self.name, error)
                self._end.wait(BREATH_SECONDS)
            except Exception:
                logger.exception("an ask was lost; its gateway says so at its deadline")
                self._end.wait(BREATH_SECONDS)

    def end(self) -> None:
        """Take no more requests, and drop the current one, whose gateway times out at its deadline."""
        self._end.set()

    def stop(self) -> None:
        """End, and wait briefly for the thread."""
        self.end()
        if self.is_alive():
            self.join(timeout=3)

    def _take(self) -> tuple[A, float] | None:
        """The next ask before its deadline, and the seconds left for it."""
        frame = self._pop()
        if frame is None:
            return None
        try:
            ask = self.ASK.model_validate_json(frame)
        except ValidationError as error:
            logger.warning("dropped an ask that cannot be read, perhaps of another version: %s", error)
            return None
        seconds, microseconds = self._redis.time()
        left_seconds = ask.deadline_ms / 1000 - (seconds + microseconds / 1e6) - MARGIN_SECONDS
        return (ask, left_seconds) if left_seconds > 0 else None

    def _pop(self) -> str | None:
        if self._readings.in_training:
            self._end.wait(DEFERENCE_SECONDS)
            return cast("str | None", self._redis.lpop(self.WAITING))
        popped = cast("tuple[str, str] | None", self._redis.blpop([self.WAITING], timeout=POP_SECONDS))
        return popped[1] if popped else None

    def _do(self, ask: A, deadline: float) -> R | None:
        """The answer, by `deadline` in monotonic time; None if this worker ends first."""
        is_idle = self._readings.in_training is None
        order, child = self.order(ask), self._start_child()
        try:
            child.begin(self.WORK, order.model_dump_json())
            answer = self._listen(child, deadline, is_idle=is_idle)
        finally:
            exit_code = child.end()
        if answer is None and not self._end.is_set():
            is_memory = exit_code == link.EXIT_OUT_OF_MEMORY
            return self._fail(
                "it ran out of memory" if is_memory else f"its process ended with exit code {exit_code}"
            )
        return answer

    def _listen(self, child: Child, deadline: float, *, is_idle: bool) -> R | None:
        """The child's last answer by its end or the deadline; None if there is none or this worker ends."""
        answer: R | None = None
        while not self._end.is_set():
            was_alive = child.is_alive
            for message in child.messages(POLL_SECONDS if was_alive else 0):
                match message:
                    case link.Failed(problem=problem):
                        return self.ANSWER(error=problem)
                    case link.Crashed(detail=detail):
                        return answer or self._fail(detail)
                answer = self.hear(message) or answer
                if isinstance(message, link.Finished):
                    return answer
            if not was_alive:
                return answer
            if answer and is_idle and self._readings.in_training:
                return answer  # a job has come and needs the cores and the memory
            if time.monotonic() > deadline:
                return answer or self._fail("it took too long")
        return None

    def _fail(self, why: str) -> R:
        problem = self.failure(why)
        logger.error("%s: %s", self.name, problem.detail)
        return self.ANSWER(error=problem)

    def _answer(self, ask: A, left_seconds: float) -> None:
        answer = self._do(ask, time.monotonic() + left_seconds)
        if answer is not None:
            self._redis.set(self.REPLY_OF + ask.id, answer.model_dump_json(), ex=ANSWER_LIVES_SECONDS)
