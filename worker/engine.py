"""The generators in memory."""

import logging
from collections import OrderedDict
from pathlib import Path

from contract.sampling import CheckpointPlace
from contract.volume import Volume
from models.environment import NumericEnvironment
from models.sampler import Sampler

logger = logging.getLogger(__name__)


class Engine:
    """An LRU of loaded generators, bounded in bytes. Used by one thread."""

    def __init__(self, volume: Volume, environment: NumericEnvironment, limit_bytes: int) -> None:
        self._volume = volume
        self._environment = environment
        self._limit_bytes = limit_bytes
        self._samplers: OrderedDict[str, Sampler] = OrderedDict()

    def sampler(self, digest: str, place: CheckpointPlace) -> Sampler:
        """The generator, loaded if need be.

        Raises:
            ServiceError: `checkpoint_unreadable` when the file is gone, damaged or not this digest.
        """
        sampler = self._samplers.get(digest)
        if sampler is None:
            sampler = self._load(digest, self._volume.checkpoint(place.job, place.file))
        self._samplers.move_to_end(digest)
        return sampler

    def _load(self, digest: str, path: Path) -> Sampler:
        sampler = Sampler.load(path, digest, self._environment)
        self._samplers[digest] = sampler
        logger.info("loaded generator %s (%d kB)", digest[:19], sampler.bytes // 1000)
        while len(self._samplers) > 1 and sum(loaded.bytes for loaded in self._samplers.values()) > (
            self._limit_bytes
        ):
            evicted, _ = self._samplers.popitem(last=False)
            logger.info("dropped generator %s", evicted[:19])
        return sampler
