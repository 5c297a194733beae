"""Asks the trainers to estimate what a job would take."""

from contract.errors import ErrorCode
from contract.estimate import Estimate, EstimateAnswer, EstimateAsk
from contract.keys import ESTIMATE_REPLY_OF, ESTIMATES_WAITING
from contract.training import DatasetSizes, TrainingSpec
from service.trainers import TrainerPost, refused


class Estimates(TrainerPost):
    """Requests estimates from the trainers."""

    WAITING = ESTIMATES_WAITING
    REPLY_OF = ESTIMATE_REPLY_OF

    async def ask(self, spec: TrainingSpec, pictures: DatasetSizes) -> Estimate:
        """Return a trainer's estimate.

        Raises:
            ServiceError: `trainer_busy`, `trainer_timeout`, or the trainer's own error.
        """
        text = await self._answer(
            lambda ask_id, deadline_ms: EstimateAsk(
                id=ask_id,
                deadline_ms=deadline_ms,
                spec=spec,
                images=pictures.images,
                held_out_images=pictures.held_out_images,
            ),
            late="No trainer answered within {seconds} s. Try again; the job can be queued without an "
            "estimate.",
        )
        answer = EstimateAnswer.model_validate_json(text)
        if answer.error:
            raise refused(answer.error, ErrorCode.ESTIMATE_FAILED)
        assert answer.estimate is not None
        return answer.estimate
