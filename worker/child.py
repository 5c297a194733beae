"""The child process that does one record's work. It exits early if asked to stop or if its parent dies."""

import contextlib
import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import context, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Self

from contract.errors import ServiceError
from contract.job import Failure
from worker import link
from worker.outcomes import in_words

logger = logging.getLogger(__name__)

ALONE = link.Place()
Work = Callable[[str, "Chore"], None]
"""Does the work of one order (JSON). Passed as `module:function`, because the supervisor never imports it."""


class StopRequestedError(Exception):
    """The supervisor wants the work to end now; it will be started again."""


class UnfitError(Exception):
    """This machine or its settings do not allow the work, whatever it is. Another worker may do it."""


class Chore:
    """The work's link to its supervisor: sends messages, and tells whether to stop."""

    def __init__(self, connection: Connection, place: link.Place = ALONE) -> None:
        self._connection = connection
        self.place = place
        self._stop = threading.Event()
        self._telling = threading.Lock()

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    def heed_stop(self) -> None:
        """Raise if a stop was requested. For work that has nothing to save.

        Raises:
            StopRequestedError: the work must not catch it.
        """
        if self._stop.is_set():
            raise StopRequestedError

    def rest(self, seconds: float) -> None:
        """Sleep; raise at once, as `heed_stop` does, when a stop is requested."""
        self._stop.wait(seconds)
        self.heed_stop()

    def tell(self, message: link.Message) -> None:
        """Send a message. Called by any thread: one that decodes pictures may wait for the volume."""
        with self._telling:
            link.send(self._connection, message)

    def listen(self) -> None:
        """Wait, in a thread, for a stop request. Exits the process if the supervisor dies."""
        try:
            while True:
                if self._connection.recv_bytes() == link.STOP:
                    self._stop.set()
        except (EOFError, OSError):
            os._exit(link.EXIT_ORPHANED)


def _main(connection: Connection) -> None:
    for inherited in (signal.SIGINT, signal.SIGTERM):
        signal.signal(inherited, signal.SIG_IGN)  # the supervisor decides, over the link
    try:
        work_name, place, order = connection.recv_bytes().decode().split("\n", 2)
    except (EOFError, OSError):
        os._exit(link.EXIT_ORPHANED)  # no order was given
    chore = Chore(connection, link.Place.model_validate_json(place))
    threading.Thread(target=chore.listen, name="lifeline", daemon=True).start()
    module, _, function = work_name.partition(":")
    try:
        work: Work = getattr(importlib.import_module(module), function)
        work(order, chore)
    except MemoryError:
        os._exit(link.EXIT_OUT_OF_MEMORY)
    except StopRequestedError:
        chore.tell(link.Stopped())
    except UnfitError as error:
        chore.tell(link.Unfit(detail=str(error)))
    except ServiceError as refusal:
        chore.tell(link.Failed(problem=Failure(code=refusal.code, detail=refusal.detail)))
    except Exception as error:
        chore.tell(link.Crashed(detail=in_words(error)[:2000]))
        raise


_ONE_AT_A_TIME = threading.Lock()
"""Starting a process also reaps others; of two threads that reap the same one, one misreads its exit code."""


class Child:
    """The supervisor's handle on such a process."""

    def __init__(self, process: ForkServerProcess, connection: Connection) -> None:
        self._process = process
        self._connection = connection
        self._stop_requested_at: float | None = None
        self.heard_at = time.monotonic()

    @classmethod
    def start(cls, forkserver: context.ForkServerContext) -> Self:
        """Fork an idle process from the preloaded server; the first call waits for the server's imports."""
        ours, theirs = forkserver.Pipe(duplex=True)
        process = forkserver.Process(target=_main, args=(theirs,), daemon=True)
        with _ONE_AT_A_TIME:
            process.start()
        theirs.close()
        return cls(process, ours)

    def begin(self, work_name: str, order: str, place: link.Place = ALONE) -> None:
        """Send the child its only order. Its exit releases memory and device."""
        self.heard_at = time.monotonic()
        with contextlib.suppress(OSError):  # already dead, as its exit code will show
            self._connection.send_bytes(f"{work_name}\n{place.model_dump_json()}\n{order}".encode())

    def listen_anew(self) -> None:
        """Measure its silence from now on."""
        self.heard_at = time.monotonic()

    def messages(self, timeout_seconds: float) -> list[link.Message]:
        """Messages since the last call. Waits up to `timeout_seconds` for the first or the child's end."""
        if not self._connection.closed:
            wait([self._connection, self._process.sentinel], timeout_seconds)
        heard: list[link.Message] = []
        try:
            while not self._connection.closed and self._connection.poll():
                heard.append(link.receive(self._connection))
        except (EOFError, OSError):
            self._connection.close()
        if heard:
            self.heard_at = time.monotonic()
        return heard

    def ask_to_stop(self) -> None:
        """Request a stop. Idempotent."""
        if self._stop_requested_at is None:
            self._stop_requested_at = time.monotonic()
            with contextlib.suppress(OSError):  # already dead, as its exit code will show
                self._connection.send_bytes(link.STOP)

    def is_slow_to_stop(self, grace_seconds: float) -> bool:
        return (
            self._stop_requested_at is not None and time.monotonic() - self._stop_requested_at > grace_seconds
        )

    @property
    def is_alive(self) -> bool:
        with _ONE_AT_A_TIME:
            return self._process.is_alive()

    @property
    def has_failed(self) -> bool:
        """Whether it has exited with a code other than 0."""
        with _ONE_AT_A_TIME:
            return self._process.exitcode not in (None, 0)

    @property
    def process_id(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it if it still runs."""
        with _ONE_AT_A_TIME:
            if self._process.is_alive():
                self._process.kill()

    def end(self, patience_seconds: float | None = None) -> int:
        """Kill it if it still runs, and return its exit code, negative for a signal. Idempotent.

        Waits for its end, at most `patience_seconds`: while it hangs in a write, it cannot die.
        """
        self.kill()
        wait([self._process.sentinel], patience_seconds)  # without the lock, for others to go on
        with _ONE_AT_A_TIME:
            self._process.join(0)
            code = self._process.exitcode
        self._connection.close()
        if code is None:
            logger.error("process %d was killed, but has not ended: it hangs in the kernel", self.process_id)
            return -signal.SIGKILL
        return code


def forkserver(preload: list[str]) -> context.ForkServerContext:
    """A server process with the heavy imports done. It never touches a device, so its forks may."""
    server = get_context("forkserver")
    server.set_forkserver_preload(["worker.ignored_signals", *preload])
    return server
