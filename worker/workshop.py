"""The trainer's thread that works on generators: inspects imported ones, exports them as programs."""

from contract import keys
from contract.errors import ErrorCode
from contract.job import Failure
from contract.workshop import WorkshopAnswer, WorkshopAsk
from worker import link
from worker.orders import WorkshopOrder
from worker.request_server import RequestServer


class Workshop(RequestServer[WorkshopAsk, WorkshopOrder, WorkshopAnswer]):
    """Works on one generator at a time, in a child whose exit frees its memory."""

    ASK = WorkshopAsk
    ANSWER = WorkshopAnswer
    WAITING = keys.WORKSHOP_WAITING
    REPLY_OF = keys.WORKSHOP_REPLY_OF
    WORK = "worker.crafting:work_on_generator"

    def order(self, ask: WorkshopAsk) -> WorkshopOrder:
        return WorkshopOrder(ask=ask, data_root=self._worker.settings.data_root)

    def hear(self, message: link.Message) -> WorkshopAnswer | None:
        return WorkshopAnswer() if isinstance(message, link.Finished) else None

    def failure(self, why: str) -> Failure:
        detail = f"The trainer could not do this with the generator: {why}."
        return Failure(code=ErrorCode.WORKSHOP_FAILED, detail=detail)
