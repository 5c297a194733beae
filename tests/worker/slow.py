"""An engine that loads one generator late."""

import threading
from concurrent.futures import wait

from contract.sampling import CheckpointPlace
from contract.volume import Volume
from models.environment import detect
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, PLACE
from worker.engine import Engine, Key

OTHER = CheckpointPlace(job="job_" + "1" * 16, file=PLACE.file)


class Slow(Engine):
    """Loads from the place `OTHER` only once `may_load` is set."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume, detect("cpu", 1, "float32"), 2**30)
        self.may_load = threading.Event()

    def _load(self, key: Key, place: CheckpointPlace) -> Sampler:
        if place == OTHER:
            assert self.may_load.wait(PATIENCE_SECONDS)
        return super()._load(key, place)

    def finish_loading(self) -> None:
        self.may_load.set()
        assert not wait(self._loading.values(), PATIENCE_SECONDS).not_done
