"""The thread of a trainer that works on generators: looks through what is sent, makes programs of them."""

import logging
import threading
import time
from collections.abc import Callable

from contract import keys
from contract.errors import ErrorCode
from contract.job import Problem
from contract.workshop import WorkshopAnswer, WorkshopAsk
from worker import link
from worker.child import Child
from worker.errands import PATIENCE_SECONDS, Errands
from worker.orders import WorkshopOrder
from worker.readings import Readings
from worker.settings import Settings

logger = logging.getLogger(__name__)

WORK = "worker.crafting:work_on_generator"


class Workshop(Errands[WorkshopAsk]):
    """One generator at a time, in a child whose memory comes back."""

    ASK = WorkshopAsk
    WAITING = keys.WORKSHOP_WAITING
    REPLY_OF = keys.WORKSHOP_REPLY_OF

    def __init__(
        self,
        settings: Settings,
        start_child: Callable[[], Child],
        readings: Readings,
        is_warm: threading.Event,
    ) -> None:
        super().__init__(settings, readings, is_warm)
        self._start_child = start_child

    def do(self, ask: WorkshopAsk, deadline: float) -> WorkshopAnswer | None:
        order = WorkshopOrder(ask=ask, data_root=self._settings.data_root)
        child = self._start_child()
        try:
            child.begin(WORK, order.model_dump_json())
            answer = self._listen(child, deadline)
        finally:
            exit_code = child.end()
        if answer is None and not self._end.is_set():
            return _failed(f"its process ended with exit code {exit_code}", exit_code)
        return answer

    def _listen(self, child: Child, deadline: float) -> WorkshopAnswer | None:
        """What the child says at its end; None if it said nothing, or we end."""
        while not self._end.is_set():
            was_alive = child.is_alive
            for message in child.messages(PATIENCE_SECONDS if was_alive else 0):
                match message:
                    case link.Failed(problem=problem):
                        return WorkshopAnswer(error=problem)
                    case link.Crashed(detail=detail):
                        return _failed(detail)
                    case link.Finished():
                        return WorkshopAnswer()
            if not was_alive:
                return None
            if time.monotonic() > deadline:
                return _failed("it took too long")
        return None


def _failed(why: str, exit_code: int = 0) -> WorkshopAnswer:
    if exit_code == link.EXIT_OUT_OF_MEMORY:
        why = "it ran out of memory"
    logger.error("a generator could not be worked on: %s", why)
    detail = f"The trainer could not do this with the generator: {why}."
    return WorkshopAnswer(error=Problem(code=ErrorCode.WORKSHOP_FAILED, detail=detail))
