"""The thread of a trainer that answers what a job would take: each ask in a child of its own."""

import logging
import threading
import time
from collections.abc import Callable
from typing import cast

import redis
from pydantic import ValidationError

from contract import keys
from contract.errors import ErrorCode
from contract.estimate import EstimateAnswer, EstimateAsk
from contract.job import Problem
from worker import link
from worker.child import Child
from worker.orders import EstimateOrder, training_threads
from worker.readings import Readings
from worker.settings import Settings
from worker.store import connect

logger = logging.getLogger(__name__)

WORK = "worker.estimating:estimate_job"
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


class Estimator(threading.Thread):
    """Runs until stopped. It holds no device, no lease and no file: what happens to it costs an answer."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        start_child: Callable[[], Child],
        readings: Readings,
        is_warm: threading.Event,
    ) -> None:
        super().__init__(name="estimator", daemon=True)
        self._worker = name
        self._settings = settings
        self._redis = connect(settings.redis_url)
        self._start_child = start_child
        self._readings = readings
        self._is_warm = is_warm
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            if not self._is_warm.wait(POP_SECONDS):
                continue
            try:
                taken = self._take()
                if taken:
                    self._answer(*taken)
            except redis.RedisError as error:
                logger.warning("no estimates, Redis is away: %s", error)
                self._end.wait(BREATH_SECONDS)
            except Exception:
                logger.exception("an estimate was lost; its gateway says so at its deadline")
                self._end.wait(BREATH_SECONDS)

    def stop(self) -> None:
        """End; an ask in hand is dropped, and its gateway says so at its deadline."""
        self._end.set()
        if self.is_alive():
            self.join(timeout=3)

    def _take(self) -> tuple[EstimateAsk, float] | None:
        """The next ask that somebody still waits for, and how long they will."""
        frame = self._pop()
        if frame is None:
            return None
        try:
            ask = EstimateAsk.model_validate_json(frame)
        except ValidationError as error:
            logger.warning("dropped an ask that cannot be read, perhaps of another version: %s", error)
            return None
        seconds, microseconds = self._redis.time()
        left_seconds = ask.deadline_ms / 1000 - (seconds + microseconds / 1e6) - MARGIN_SECONDS
        return (ask, left_seconds) if left_seconds > 0 else None

    def _pop(self) -> str | None:
        if self._readings.in_training:
            self._end.wait(DEFERENCE_SECONDS)
            return cast("str | None", self._redis.lpop(keys.ESTIMATES_WAITING))
        popped = cast(
            "tuple[str, str] | None", self._redis.blpop([keys.ESTIMATES_WAITING], timeout=POP_SECONDS)
        )
        return popped[1] if popped else None

    def _answer(self, ask: EstimateAsk, left_seconds: float) -> None:
        answer = self._estimate(ask, time.monotonic() + left_seconds)
        if answer is not None:
            key = keys.ESTIMATE_REPLY_OF + ask.id
            self._redis.set(key, answer.model_dump_json(), ex=ANSWER_LIVES_SECONDS)

    def _estimate(self, ask: EstimateAsk, deadline: float) -> EstimateAnswer | None:
        """The best that is known by the deadline; None if this worker ends before."""
        order = EstimateOrder(
            ask=ask,
            worker=self._worker,
            data_root=self._settings.data_root,
            device=self._settings.device,
            threads=training_threads(self._settings, ask.spec.devices),
            readings=self._readings.all(),
            training=self._readings.in_training,
        )
        child = self._start_child()
        try:
            child.begin(WORK, order.model_dump_json())
            answer = self._listen(child, order, deadline)
        finally:
            exit_code = child.end()
        if answer is None and not self._end.is_set():
            return _failed(f"its process ended with exit code {exit_code}", exit_code)
        return answer

    def _listen(self, child: Child, order: EstimateOrder, deadline: float) -> EstimateAnswer | None:
        """What the child says until it has finished, or must; None if it said nothing, or we end."""
        answer: EstimateAnswer | None = None
        while not self._end.is_set():
            was_alive = child.is_alive
            for message in child.messages(PATIENCE_SECONDS if was_alive else 0):
                match message:
                    case link.Estimated(estimate=estimate):
                        answer = EstimateAnswer(estimate=estimate)
                    case link.Failed(problem=problem):
                        return EstimateAnswer(error=problem)
                    case link.Crashed(detail=detail):
                        return answer or _failed(detail)
                    case link.Finished():
                        return answer
            if not was_alive:
                return answer
            if answer and order.training is None and self._readings.in_training:
                return answer  # a job has come: the cores and the memory are its
            if time.monotonic() > deadline:
                return answer or _failed("it took too long")
        return None


def _failed(why: str, exit_code: int = 0) -> EstimateAnswer:
    if exit_code == link.EXIT_OUT_OF_MEMORY:
        why = "it ran out of memory"
    logger.error("an estimate could not be made: %s", why)
    detail = f"The trainer could not make the estimate: {why}. Ask again; the job itself may still be queued."
    return EstimateAnswer(error=Problem(code=ErrorCode.ESTIMATE_FAILED, detail=detail))
