"""What the parts of one worker share, created once per process."""

import threading
from dataclasses import dataclass
from typing import Self

from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from worker.later import Later
from worker.settings import Settings
from worker.store import Store


@dataclass(frozen=True)
class WorkerProcess:
    """A worker's name and settings, and its access to the records and the volume, for any of its threads."""

    name: str
    """That of its slot, under which it owns records."""
    settings: Settings
    store: Store
    volume: Volume
    watch: VolumeWatch
    """Started by the reconciler."""
    later: Later
    """Any part defers writes to it; the reconciler catches up."""
    stop: threading.Event
    """Set when the worker is to end."""

    @classmethod
    def create(cls, name: str, settings: Settings) -> Self:
        """Opens no connection yet."""
        store, volume = Store(settings.redis_url), Volume(settings.data_root)
        watch, later = VolumeWatch(volume), Later(volume)
        return cls(name, settings, store, volume, watch, later, threading.Event())
