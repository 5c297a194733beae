"""What a worker does before anything else on the volume: waits until it is there, unless it is new."""

import logging
import time

from redis.exceptions import RedisError

from contract.rare_warning import RareWarning
from contract.volume import Volume
from contract.volume_watch import IF_AWAY
from worker.store import Store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


def await_volume(store: Store, volume: Volume) -> None:
    """Return once the volume is there, or Redis has no records: then a rebuild lays out a new one."""
    rarely = RareWarning(logger)
    while True:
        try:
            if volume.is_laid_out():
                volume.lay_out()
                return
            if not store.has_epoch():
                return
            rarely.log("%s is empty, but Redis has records: %s", volume.root, IF_AWAY)
        except RedisError as error:
            rarely.log("%s is empty, and Redis is away: %s", volume.root, error)
        except OSError as error:
            rarely.log("%s cannot be used: %s", volume.root, error)
        time.sleep(LOOK_SECONDS)
