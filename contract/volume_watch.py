"""Watches whether the volume is there and answers: in a thread, as a look at one that hangs may not end."""

import errno
import logging
import os
import tempfile
import threading
import time

from contract.durable import LACKS
from contract.rebuilding import read_epoch
from contract.volume import Volume

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
WRITE_SECONDS = 5.0
"""Between two looks that write, as the kernel answers the others from memory even if every write hangs."""
PATIENCE_SECONDS = 3.0
"""If one look takes longer, the volume hangs."""
WRITE_PATIENCE_SECONDS = 15.0
"""The same for one that writes: beside large uploads, a slow disk needs seconds for an fsync."""
IF_AWAY = "mount the volume there; or, if it was deleted on purpose, empty Redis and restart the workers"
"""What to do. Workers that know the volume never take it for new, even if Redis is empty."""


class VolumeWatch:
    """What is known of the volume without touching it. Used by any thread."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._looking_since: float | None = None
        self._finding: str | None = None
        self._next_write = 0.0
        self._patience_seconds = PATIENCE_SECONDS
        self._has_looked = threading.Event()
        self._end = threading.Event()
        self.epoch = ""
        """The volume's epoch, as last read; empty if it has had none, or if that could not be told."""
        self.write_error: OSError | None = None
        """Why the volume could not be written, when last tried. One that is only full is in no trouble."""

    def start(self) -> None:
        """Begin to look, and wait for the first look, unless the volume hangs."""
        threading.Thread(target=self._run, name="volume-watch", daemon=True).start()
        self._has_looked.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        self._end.set()

    @property
    def trouble(self) -> str | None:
        """Why the volume cannot be used, and what to do; None while it can, or if nobody has looked."""
        since = self._looking_since
        seconds = time.monotonic() - since if since is not None else 0.0
        if seconds > self._patience_seconds:
            return f"{self._volume.root} has not answered for {seconds:.0f} s: check the disk or its server"
        return self._finding

    def require(self) -> None:
        """Raise OSError, one that may pass, if the volume cannot be used."""
        if trouble := self.trouble:
            raise OSError(errno.ENODEV, trouble)

    def _run(self) -> None:
        while not self._end.is_set():
            self._patience_seconds = PATIENCE_SECONDS
            self._looking_since = time.monotonic()
            try:
                self.look()
            except Exception:
                logger.exception("a look at %s failed; the next one tries again", self._volume.root)
            self._looking_since = None
            self._has_looked.set()
            self._end.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Look now, which may take as long as the volume hangs."""
        try:
            self._volume.require()
            epoch = read_epoch(self._volume)
            if time.monotonic() >= self._next_write:
                self._patience_seconds = WRITE_PATIENCE_SECONDS
                self._try_to_write()
        except OSError as error:
            advice = IF_AWAY if error.errno == errno.ENODEV else "check the disk or its server"
            self._finding = f"{self._volume.root} cannot be used ({error.strerror}): {advice}"
        else:
            self.epoch = epoch
            self._finding = None

    def _try_to_write(self) -> None:
        """Raise OSError if the volume fails; what else prevents writing is only noted."""
        try:
            write_probe(self._volume)
        except OSError as error:
            self.write_error = error
            if LACKS.get(error.errno) == "volume_failing":
                raise
        else:
            self.write_error = None
            self._next_write = time.monotonic() + WRITE_SECONDS


def write_probe(volume: Volume) -> None:
    """Write to the volume. Raises OSError unless it takes that."""
    with tempfile.TemporaryFile(dir=volume.root, buffering=0) as file:
        file.write(b"ready")
        os.fsync(file.fileno())
