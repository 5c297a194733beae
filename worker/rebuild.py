"""Re-creates the records from the volume when Redis comes up empty, or older than the volume."""

import logging
import uuid

from contract import rebuilding
from contract.durable import replace_durably
from contract.rare_warning import RareWarning
from contract.rebuilding import OvertakenError
from contract.volume import Volume
from worker.rebuild_models import restore_left_out_models, restore_models
from worker.rebuild_records import restore_left_out_records, restore_records
from worker.store import Store

logger = logging.getLogger(__name__)

LOCK_SECONDS = 60
"""Limit from one record to the next, and for looking at a hundred. A dead rebuilder is replaced after it."""


class Rebuilder:
    """Every worker has one; a lock in Redis lets one at a time do the work."""

    def __init__(self, store: Store, volume: Volume, name: str, lease_seconds: float) -> None:
        self._store = store
        self._volume = volume
        self._name = name
        self._lease_seconds = lease_seconds
        self._has_removed_outdated = False
        self._rarely = RareWarning(logger)

    def rebuild_if_lost(self) -> bool:
        """Rebuild the records if Redis is empty or outdated; whether they stand now.

        If Redis is emptied again before the end, the next call starts over.
        """
        of_volume = rebuilding.read_epoch(self._volume)
        if not self.is_lost(of_volume):
            return True
        rebuild = self._store.lock_rebuild(self._name, LOCK_SECONDS)
        if rebuild is None:
            return False
        epoch = uuid.uuid4().hex
        try:
            found = rebuild.run(rebuilding.begin_rebuild(of_volume, epoch))
            if found == "stands":  # another process has just rebuilt them
                return True
            self._has_removed_outdated |= found == "outdated"
            self._begin_epoch(epoch)
            self._volume.lay_out()
            count = restore_records(rebuild, self._volume, self._lease_seconds)
            restore_models(rebuild, self._volume)
            self._volume.require()  # else what it did not find is only away
            rebuild.run(rebuilding.end_rebuild(epoch))
        except OvertakenError:
            logger.warning(
                "Redis was emptied again, or another rebuilds: not rebuilt from %s yet", self._volume.root
            )
            return False
        if count:
            state = "empty" if found == "emptied" else "older than the volume"
            logger.warning("Redis was %s: rebuilt %d records from %s", state, count, self._volume.root)
        return True

    def restore_left_out(self) -> None:
        """Retry what could not be read: a live owner writes its facts anew, and people repair files."""
        restore_left_out_records(self._store, self._volume, self._lease_seconds)
        restore_left_out_models(self._store, self._volume)

    def is_lost(self, of_volume: str) -> bool:
        """Whether Redis is empty, or outdated and may be emptied. Does not touch the volume."""
        if not self._store.has_epoch():
            return True
        return self._store.is_outdated(of_volume) and self._may_remove_outdated()

    def _may_remove_outdated(self) -> bool:
        """Only once: two servers in use for one volume would make each other outdated for ever."""
        if self._has_removed_outdated:
            self._rarely.log(
                "%s: its records were rebuilt on another Redis again; if two are in use, stop the workers of"
                " the wrong one, then restart this one",
                self._volume.root,
            )
        return not self._has_removed_outdated

    def _begin_epoch(self, epoch: str) -> None:
        """A Redis that does not know it is outdated from now on. A full volume prevents no rebuild."""
        try:
            replace_durably(self._volume.epoch, epoch.encode())
        except OSError as error:
            logger.warning("%s: an older Redis will not be noticed: %s", self._volume.epoch, error)
