"""Runs what touches the volume off the event loop, in threads of its own, which a hanging volume may keep.

A call that hangs is left behind once the watch knows of trouble, and may still write when the volume answers
again. Nothing else is called before it has ended, so whatever looks at the volume later finds what it did.
The same holds for one whose caller was cancelled, if there is trouble before it ends.

A file may hang while the rest of the volume answers, so that the watch finds no trouble. Calls that wait for
such files keep their threads; once they have them all, every other call is refused.
"""

import asyncio
import errno
from collections.abc import Callable, Set
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, ParamSpec, TypeVar

from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from service.daemon_threads import DaemonThreads

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 16
_LOOK_SECONDS = 0.2
_CLOSE_SECONDS = 1.0
_BUSY_SECONDS = 15.0
"""If all threads are busy with one call each for longer, they hang. A large file's fsync takes seconds."""


class OnVolume:
    """Calls a function that touches the volume."""

    def __init__(self, volume: Volume, watch: VolumeWatch) -> None:
        self._volume = volume
        self._watch = watch
        self._threads = DaemonThreads(_THREADS, "volume")
        self._unawaited: dict[Future[Any], asyncio.Task[Any] | None] = {}
        self._left_behind: set[Future[Any]] = set()
        self._is_closing = False

    async def __call__(self, touch: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns.

        Raises:
            OSError: while the volume is away or hangs, or so many of its files that no thread is left, one
                that `LACKS` calls `volume_failing`, as soon as that is known; the function may then take
                effect later. So what the function does not find was deleted, or never was there.
        """
        self.require()
        call = self._threads.submit(partial(self._call, touch, *args, **kwargs))
        outcome = asyncio.wrap_future(call)
        try:
            while not outcome.done():
                self._watch.require()
                if (jam := self._jam) and call.cancel():
                    raise OSError(errno.ENODEV, jam)
                await asyncio.wait([outcome], timeout=_LOOK_SECONDS)
            return outcome.result()
        finally:
            outcome.cancel()
            if not call.cancel() and not call.done():
                self._unawaited[call] = asyncio.current_task()
                call.add_done_callback(self._unawaited.pop)
                self._look()

    def unawaited(self) -> frozenset[Future[Any]]:
        """The calls of the current task that have not ended, though it waits for them no longer."""
        task = asyncio.current_task()
        return frozenset(call for call, caller in self._unawaited.copy().items() if caller is task)

    async def at_last(self, touch: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function, whatever the state of the volume, once the task's unawaited calls have ended.

        Waits for it unless there is trouble or the gateway is closing. A thread has its arguments until it
        ends, so that none is dropped, and closed, on the event loop.
        """
        last = partial(touch, *args, **kwargs)
        outcome = asyncio.wrap_future(self._threads.submit(partial(_after, self.unawaited(), last)))
        while not (outcome.done() or self.trouble or self._is_closing):
            await asyncio.wait([outcome], timeout=_LOOK_SECONDS)

    @property
    def trouble(self) -> str | None:
        """Why the volume cannot be used at present, and what to do; None while it can."""
        self._look()
        if self._left_behind and not self._watch.trouble:
            earlier = f"{len(self._left_behind)} earlier calls have not ended"
            return f"{self._volume.root} answers again, but {earlier}: restart the gateway if this lasts"
        return self._watch.trouble or self._jam

    @property
    def _jam(self) -> str | None:
        """Why no further call begins, although the volume answers; None as long as one may."""
        if (seconds := self._threads.busy_seconds) <= _BUSY_SECONDS:
            return None
        hanging = f"{_THREADS} calls have not ended for {seconds:.0f} s"
        return f"{self._volume.root} answers, but {hanging}: restart the gateway if this lasts"

    def _look(self) -> None:
        """Note which calls hang."""
        unawaited = set(self._unawaited)
        self._left_behind &= unawaited
        if self._watch.trouble:
            self._left_behind |= unawaited

    def require(self) -> None:
        """Raise such an OSError if the volume is known to be away or to hang, or if no thread is left."""
        if trouble := self.trouble:
            raise OSError(errno.ENODEV, trouble)

    def _call(self, touch: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return touch(*args, **kwargs)
        finally:
            self._volume.require()  # else whatever it found missing is only away

    def begin_to_close(self) -> None:
        """From now on, only `close` waits for what is done at last."""
        self._is_closing = True

    def close(self) -> None:
        """Wait a second at most for what is still to be done."""
        self._threads.close(_CLOSE_SECONDS)


def _after(others: Set[Future[Any]], touch: Callable[[], None]) -> None:
    wait(others)
    touch()
