"""Runs what touches the volume off the event loop, in threads of its own, which a hanging volume may keep."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from contract.volume import Volume
from contract.volume_watch import VolumeWatch

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 16


class OnVolume:
    """Calls a function that touches the volume."""

    def __init__(self, volume: Volume, watch: VolumeWatch) -> None:
        self._volume = volume
        self._watch = watch
        self._threads = ThreadPoolExecutor(_THREADS, "volume")

    async def __call__(self, touch: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns.

        Raises:
            OSError: while the volume is away or hangs, one that `LACKS` calls `volume_failing`, usually at
                once. So what the function does not find was deleted, or never was there.
        """
        self.require()
        call = partial(self._call, touch, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def at_last(self, touch: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function, whatever the state of the volume, and wait for it unless there is trouble.

        A thread has its arguments until it ends, so that none is dropped, and closed, on the event loop.
        """
        call = self._threads.submit(touch, *args, **kwargs)
        if not self._watch.trouble:
            await asyncio.shield(asyncio.wrap_future(call))

    def require(self) -> None:
        """Raise such an OSError if the volume is known to be away or to hang."""
        self._watch.require()

    def _call(self, touch: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return touch(*args, **kwargs)
        finally:
            self._volume.require()  # else whatever it found missing is only away

    def close(self) -> None:
        """Start nothing more. Does not wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
