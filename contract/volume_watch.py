"""Watches whether the volume is there and answers: in a thread, as a look at one that hangs may not end."""

import errno
import threading
import time

from contract.rebuilding import read_epoch
from contract.volume import Volume

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 3.0
"""If one look takes longer, the volume hangs."""
IF_AWAY = "mount the volume there; or, if it was deleted on purpose, empty Redis and restart the workers"
"""What to do. Workers that know the volume never take it for new, even if Redis is empty."""


class VolumeWatch:
    """What is known of the volume without touching it. Used by any thread."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._looking_since: float | None = None
        self._finding: str | None = None
        self._has_looked = threading.Event()
        self._end = threading.Event()
        self.epoch = ""
        """The volume's epoch, as last read; empty if it has had none, or if that could not be told."""

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
        if seconds > PATIENCE_SECONDS:
            return f"{self._volume.root} has not answered for {seconds:.0f} s: check the disk or its server"
        return self._finding

    def require(self) -> None:
        """Raise OSError, one that may pass, if the volume cannot be used."""
        if trouble := self.trouble:
            raise OSError(errno.ENODEV, trouble)

    def _run(self) -> None:
        while not self._end.is_set():
            self._looking_since = time.monotonic()
            self.look()
            self._looking_since = None
            self._has_looked.set()
            self._end.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Look now, which may take as long as the volume hangs."""
        try:
            self._volume.require()
        except OSError as error:
            advice = IF_AWAY if error.errno == errno.ENODEV else "check the disk or its server"
            self._finding = f"{self._volume.root} cannot be used ({error.strerror}): {advice}"
        else:
            self.epoch = read_epoch(self._volume)
            self._finding = None
