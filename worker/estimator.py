"""The thread of a trainer that answers what a job would take."""

import logging
import threading
import time
from collections.abc import Callable

from contract import keys
from contract.errors import ErrorCode
from contract.estimate import EstimateAnswer, EstimateAsk
from contract.job import Problem
from worker import link
from worker.child import Child
from worker.errands import PATIENCE_SECONDS, Errands
from worker.orders import EstimateOrder, training_threads
from worker.readings import Readings
from worker.settings import Settings

logger = logging.getLogger(__name__)

WORK = "worker.estimating:estimate_job"


class Estimator(Errands[EstimateAsk]):
    """Tells the best that it knows by the deadline."""

    ASK = EstimateAsk
    WAITING = keys.ESTIMATES_WAITING
    REPLY_OF = keys.ESTIMATE_REPLY_OF

    def __init__(
        self,
        name: str,
        settings: Settings,
        start_child: Callable[[], Child],
        readings: Readings,
        is_warm: threading.Event,
    ) -> None:
        super().__init__(settings, readings, is_warm)
        self._worker = name
        self._start_child = start_child

    def do(self, ask: EstimateAsk, deadline: float) -> EstimateAnswer | None:
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
