"""Asks the trainers to inspect a generator, or to build a program from it."""

from contract.errors import ErrorCode
from contract.keys import WORKSHOP_REPLY_OF, WORKSHOP_WAITING
from contract.sampling import CheckpointPlace
from contract.workshop import Task, WorkshopAnswer, WorkshopAsk
from service.trainers import TrainerPost, refused


class Workshop(TrainerPost):
    """Sends tasks about generators to the trainers."""

    WAITING = WORKSHOP_WAITING
    REPLY_OF = WORKSHOP_REPLY_OF

    async def ask(self, task: Task, digest: str, place: CheckpointPlace) -> None:
        """Have a trainer do a task, and wait until it is done.

        Raises:
            ServiceError: `trainer_busy`, `trainer_timeout`, or the trainer's own error.
        """
        text = await self._answer(
            lambda ask_id, deadline_ms: WorkshopAsk(
                id=ask_id, deadline_ms=deadline_ms, task=task, digest=digest, place=place
            ),
            late="No trainer finished with this generator within {seconds} s. Try again.",
        )
        answer = WorkshopAnswer.model_validate_json(text)
        if answer.error:
            raise refused(answer.error, ErrorCode.WORKSHOP_FAILED)
