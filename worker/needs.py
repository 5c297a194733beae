"""Finds out how much memory loads need, in a thread of its own, as a look at a file may hang."""

from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from contract.sampling import CheckpointPlace, SamplePrecision
from contract.volume import Volume
from models.environment import NumericEnvironment
from models.loading import loading_bytes
from worker.hanging import Reads

Load = tuple[CheckpointPlace, SamplePrecision]
"""A file, and the precision it is loaded in."""
_MOMENT_SECONDS = 0.02
"""Waited for what has just been asked for, which usually takes less."""


class Needs:
    """What was found out, of the loads that somebody waits for. Used by one thread."""

    def __init__(
        self, volume: Volume, environments: Mapping[SamplePrecision, NumericEnvironment], reads: Reads
    ) -> None:
        self._volume = volume
        self._environments = environments
        self._reads = reads
        self._thread = ThreadPoolExecutor(1, "needs")
        self._asked: dict[Load, Future[int]] = {}

    def bytes_of(self, load: Load) -> int | None:
        """Memory for a load; None while that is being looked up. 0 if its file cannot be found or read."""
        if load not in self._asked:
            self._asked[load] = self._thread.submit(self._look_up, *load)
            wait([self._asked[load]], _MOMENT_SECONDS)
        asked = self._asked[load]
        return asked.result() if asked.done() else None

    def keep(self, awaited: Collection[Load]) -> None:
        """Forget those that nobody waits for any more."""
        for load in self._asked.keys() - awaited:
            self._asked.pop(load).cancel()

    def close(self) -> None:
        """Look nothing up any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, place: CheckpointPlace, precision: SamplePrecision) -> int:
        path = self._volume.checkpoint(place.job, place.file)
        try:
            with self._reads.one(path):
                return loading_bytes(path, self._environments[precision])
        except OSError:
            return 0  # the load will report it
