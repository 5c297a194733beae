"""Waits for room: retries what the volume refuses until it succeeds, and reports the wait.

A full, read-only or failing volume fails no work. Who writes or reads waits between two tries, then goes on
exactly where it was.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contract.durable import RequireRoom, lack, replace_durably
from contract.errors import ServiceError
from contract.job import Shortage
from contract.volume import Volume
from contract.volume_watch import write_probe
from worker import link
from worker.child import Chore
from worker.shortages import require_free, shortage

T = TypeVar("T")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 3.0
READ_PATIENCE_SECONDS = 30.0
"""For one file of a volume that is well otherwise: the pauses until its error counts as lasting."""
SPARE_BYTES = 4 * 2**20
"""What a child leaves free for facts, events, and a Redis whose log is there and which exits without room."""


class Room:
    """Retries the writes of one writer, and its reads."""

    def __init__(
        self,
        volume: Volume,
        tell: Callable[[Shortage | None], None],
        rest: Callable[[float], None],
        spare_bytes: int = 0,
    ) -> None:
        """`tell` is called with the shortage after every failed try, and with None when it is over.

        `rest` sleeps for some seconds, or raises to end the wait.
        """
        self._volume = volume
        self._tell = tell
        self._rest = rest
        self._spare_bytes = spare_bytes

    def insist(self, write: Callable[[RequireRoom], T], path: Path, size_bytes: int) -> T:
        """Retry a write until the volume accepts it. It requires the room itself, before the first byte.

        Raises:
            OSError: an error that waiting does not cure.
        """
        needed_bytes = size_bytes + self._spare_bytes
        wait = _Wait(self._tell, self._rest, path, needed_bytes)

        def require_room() -> None:
            if self._spare_bytes:
                require_free(path, needed_bytes)

        while True:
            try:
                with self._volume.required():
                    written = write(require_room)
            except OSError as error:
                wait.rest(error)
            else:
                wait.end()
                return written

    def read(self, read: Callable[[], T], path: Path) -> T:
        """Retry a read that the volume refuses: while the volume is away or fails, without a limit.

        Raises what the read raises if that is no refusal, or if nothing but this read was refused for
        `READ_PATIENCE_SECONDS`: a bad sector must not stop the work for ever.
        """
        wait = _Wait(self._tell, self._rest, path, 0)
        patience_seconds = READ_PATIENCE_SECONDS
        while True:
            try:
                found = read()
            except (OSError, ServiceError) as error:
                if trouble := self._trouble(error):
                    wait.rest(trouble)
                    patience_seconds = READ_PATIENCE_SECONDS
                elif isinstance(error, OSError) and lack(error) and patience_seconds > 0:
                    patience_seconds -= wait.rest(error)
                else:
                    wait.end()
                    raise
            else:
                wait.end()
                return found

    def _trouble(self, error: Exception) -> OSError | None:
        """Why the volume as a whole cannot be used, if that is why a read failed with this error.

        After a refusal it is written to, as the kernel answers from memory for a disk that is gone.
        """
        try:
            self._volume.require()
        except OSError as trouble:
            return trouble
        try:
            if lack(error):
                write_probe(self._volume)
        except OSError as trouble:
            return trouble if lack(trouble) in ("volume_failing", "volume_read_only") else None
        return None

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of a record durably, creating its directory if need be, but never the record's own.

        Raises:
            OSError: as `insist` does; FileNotFoundError if the record was deleted meanwhile.
        """

        def write(require_room: RequireRoom) -> None:
            require_room()
            path.parent.mkdir(exist_ok=True)
            replace_durably(path, content)

        self.insist(write, path, len(content))


class _Wait:
    """One wait, which begins with the first failed try."""

    def __init__(
        self,
        tell: Callable[[Shortage | None], None],
        rest: Callable[[float], None],
        path: Path,
        needed_bytes: int,
    ) -> None:
        self._tell = tell
        self._rest = rest
        self._path = path
        self._needed_bytes = needed_bytes
        self._since_ms = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS

    def rest(self, error: OSError) -> float:
        """Tell of a failed try, and pause. Returns the seconds.

        Raises:
            OSError: the same, if waiting does not cure it.
        """
        self._since_ms = self._since_ms or round(time.time() * 1000)
        self._tell(shortage(error, self._path, self._needed_bytes, self._since_ms))
        paused_seconds = self._pause_seconds
        self._rest(paused_seconds)
        self._pause_seconds = min(2 * paused_seconds, LONGEST_PAUSE_SECONDS)
        return paused_seconds

    def end(self) -> None:
        """Tell that it is over, if it began."""
        if self._since_ms:
            self._tell(None)


def room_of(chore: Chore, volume: Volume) -> Room:
    """The room of a child, whose supervisor is told of every try. A stop request ends the wait."""
    return Room(volume, lambda lacking: chore.tell(link.Waiting(shortage=lacking)), chore.rest, SPARE_BYTES)
