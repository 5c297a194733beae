"""Writes that are not urgent: those that the volume rejects are deferred until it accepts them."""

import logging
from collections import deque
from collections.abc import Callable

from contract.volume import Volume

logger = logging.getLogger(__name__)


class Later:
    """Writes that are not urgent: those that the volume rejects, for whatever reason, are retried."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._owed: deque[Callable[[], object]] = deque()

    def write(self, statement: Callable[[], object]) -> None:
        """Try at once. Called by any thread. A write that happens late must be fenced by its token."""
        if error := self._refusal(statement):
            logger.warning("the volume does not take a statement (%s); it is made once it does", error)
            self._owed.append(statement)

    def owe(self, statement: Callable[[], object]) -> None:
        """Leave it to the next catching up. For a thread that must not touch the volume."""
        self._owed.append(statement)

    def catch_up(self) -> None:
        """Carry out the deferred writes. Called by one thread."""
        for _ in range(len(self._owed)):
            statement = self._owed.popleft()
            if self._refusal(statement):
                self._owed.append(statement)

    def _refusal(self, statement: Callable[[], object]) -> OSError | None:
        try:
            with self._volume.required():
                statement()
        except FileNotFoundError:  # the record was deleted meanwhile
            return None
        except OSError as error:
            return error
        return None
