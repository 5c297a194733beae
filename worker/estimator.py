"""The trainer's thread that estimates what a job would take."""

from contract import keys
from contract.errors import ErrorCode
from contract.estimate import EstimateAnswer, EstimateAsk
from contract.job import Failure
from worker import link
from worker.orders import EstimateOrder, training_threads
from worker.request_server import RequestServer


class Estimator(RequestServer[EstimateAsk, EstimateOrder, EstimateAnswer]):
    """Answers with the best estimate available by the deadline."""

    ASK = EstimateAsk
    ANSWER = EstimateAnswer
    WAITING = keys.ESTIMATES_WAITING
    REPLY_OF = keys.ESTIMATE_REPLY_OF
    WORK = "worker.estimating:estimate_job"

    def order(self, ask: EstimateAsk) -> EstimateOrder:
        settings = self._worker.settings
        return EstimateOrder(
            ask=ask,
            worker=self._worker.name,
            data_root=settings.data_root,
            device=settings.device,
            threads=training_threads(settings, ask.spec.devices),
            readings=self._readings.all(),
            training=self._readings.in_training,
        )

    def hear(self, message: link.Message) -> EstimateAnswer | None:
        match message:
            case link.Estimated(estimate=estimate):
                return EstimateAnswer(estimate=estimate)
        return None

    def failure(self, why: str) -> Failure:
        detail = (
            f"The trainer could not make the estimate: {why}. Ask again; the job itself may still be queued."
        )
        return Failure(code=ErrorCode.ESTIMATE_FAILED, detail=detail)
