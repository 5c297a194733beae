"""The trainer's thread that estimates what a job would take."""

import threading
from collections.abc import Callable

from contract import keys
from contract.errors import ErrorCode
from contract.estimate import EstimateAnswer, EstimateAsk
from contract.job import Failure
from worker import link
from worker.child import Child
from worker.orders import EstimateOrder, training_threads
from worker.readings import Readings
from worker.request_server import RequestServer
from worker.settings import Settings


class Estimator(RequestServer[EstimateAsk, EstimateOrder, EstimateAnswer]):
    """Answers with the best estimate available by the deadline."""

    ASK = EstimateAsk
    WAITING = keys.ESTIMATES_WAITING
    REPLY_OF = keys.ESTIMATE_REPLY_OF
    WORK = "worker.estimating:estimate_job"

    def __init__(
        self,
        name: str,
        settings: Settings,
        start_child: Callable[[], Child],
        readings: Readings,
        is_warm: threading.Event,
    ) -> None:
        super().__init__(settings, start_child, readings, is_warm)
        self._worker = name

    def order(self, ask: EstimateAsk) -> EstimateOrder:
        return EstimateOrder(
            ask=ask,
            worker=self._worker,
            data_root=self._settings.data_root,
            device=self._settings.device,
            threads=training_threads(self._settings, ask.spec.devices),
            readings=self._readings.all(),
            training=self._readings.in_training,
        )

    def hear(self, message: link.Message) -> EstimateAnswer | None:
        match message:
            case link.Estimated(estimate=estimate):
                return EstimateAnswer(estimate=estimate)
        return None

    def refuse(self, problem: Failure) -> EstimateAnswer:
        return EstimateAnswer(error=problem)

    def failure(self, why: str) -> Failure:
        detail = (
            f"The trainer could not make the estimate: {why}. Ask again; the job itself may still be queued."
        )
        return Failure(code=ErrorCode.ESTIMATE_FAILED, detail=detail)
