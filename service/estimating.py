"""Asks the trainers to estimate what a job would take."""

from redis.asyncio import Redis

from contract.errors import ErrorCode
from contract.estimate import Estimate, EstimateAnswer, EstimateAsk
from contract.keys import ESTIMATE_REPLY_OF, ESTIMATES_WAITING
from contract.training import Pictures, TrainingSpec
from service.trainers import TrainerPost, refused


class Estimates:
    """Requests estimates from the trainers."""

    def __init__(self, redis: "Redis", *, timeout_seconds: float, limit: int) -> None:
        self._post = TrainerPost(
            redis,
            waiting=ESTIMATES_WAITING,
            reply_of=ESTIMATE_REPLY_OF,
            timeout_seconds=timeout_seconds,
            limit=limit,
        )

    async def close(self) -> None:
        await self._post.close()

    async def ask(self, spec: TrainingSpec, pictures: Pictures) -> Estimate:
        """Return a trainer's estimate.

        Raises:
            ServiceError: `trainer_busy`, `trainer_timeout`, or the trainer's own error.
        """
        text = await self._post.ask(
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
