"""The thread beside every worker's work: announces it, reaps dead owners, rings, and tends the volume.

Only a rebuild, until which there is nothing to announce, and what is done aside touch the volume: if that
hangs, the rest goes on.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import redis

from contract import reaping
from contract.keys import RecordKind
from contract.rare_warning import RareWarning
from contract.workers import goodbye, hello
from worker.aside import Aside
from worker.facts import write_burial
from worker.mirror import Mirror
from worker.process import WorkerProcess
from worker.rebuild import Rebuilder
from worker.retention import drop_needless_snapshots

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
PRESENCE_LEASES = 1.0
"""A worker counts as gone when it has been silent for this many leases."""


class Reconciler(threading.Thread):
    """Repairs what lost messages and dead processes leave. Any number may run: every act is atomic."""

    def __init__(
        self,
        worker: WorkerProcess,
        ring: Callable[[RecordKind], None],
        facts: Callable[[], Mapping[str, Any]],
        adopt: Callable[[str | None], None],
        is_well: Callable[[], bool],
    ) -> None:
        super().__init__(name="reconciler", daemon=True)
        self._worker = worker.name
        self._settings = worker.settings
        self._store = worker.store
        self._volume = worker.volume
        self._watch = worker.watch
        self._later = worker.later
        self._ring = ring
        self._facts = facts
        self._adopt = adopt
        self._is_well = is_well
        self._rebuilder = Rebuilder(worker.store, worker.volume, worker.name, worker.settings.lease_seconds)
        self._mirror = Mirror(worker.store, worker.volume)
        self._aside = Aside("volume")
        self._rarely = RareWarning(logger)
        self._slow = RareWarning(logger)
        self._end = threading.Event()
        self._has_slot = False
        self._next_sweep = 0.0

    def start(self) -> None:
        """Begin once the watch has begun. Raises RuntimeError if no thread can be started."""
        self._watch.start()
        super().start()

    def run(self) -> None:
        period = min(1.0, self._settings.heartbeat_seconds)
        while not self._end.is_set():
            started = time.monotonic()
            try:
                self._reconcile()
            except redis.RedisError as error:
                logger.warning("Redis is away: %s", error)
            except OSError as error:
                self._rarely.log("the volume at %s does not answer: %s", self._volume.root, error)
            except Exception:
                logger.exception("a round of reconciling failed; the next one tries again")
            else:
                self._touch_heartbeat()
            self._end.wait(max(0.0, period - (time.monotonic() - started)))

    def stop(self) -> None:
        """End the thread, and the worker's presence with it."""
        self._end.set()
        self._watch.stop()
        self.join(timeout=5)
        try:
            self._store.run(goodbye(self._worker))
        except redis.RedisError as error:
            logger.info("left without a goodbye: %s", error)

    def _reconcile(self) -> None:
        if not self._is_well():
            logger.critical("a part of this worker is dead; it ends, to be started again")
            self._end.set()
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if self._rebuilder.is_lost(self._watch.epoch) and not self._rebuild():
            return
        self._free_own_slot()
        ttl_seconds = PRESENCE_LEASES * self._settings.lease_seconds
        self._adopt(self._store.run(hello(self._worker, self._facts(), ttl_seconds)))
        may_reap = self._store.uptime_seconds() >= self._settings.lease_seconds
        for kind in RecordKind:
            if may_reap:
                self._reap(kind)
            if self._store.is_unheard(kind):
                self._ring(kind)
        work = self._watch.look if self._watch.trouble else self._tend_volume  # it may be there by now
        seconds = self._aside.carry_out(work, self._settings.heartbeat_seconds)
        self._watch.require()
        if seconds is not None:
            text = "the volume at %s is slow: its last writes have not ended after %.0f s"
            self._slow.log(text, self._volume.root, seconds)

    def _rebuild(self) -> bool:
        """Rebuild the records; whether they stand now. A volume that had records, and is away, is not new."""
        if self._watch.epoch:
            self._volume.require()
        do_stand = self._rebuilder.rebuild_if_lost()
        self._watch.look()  # it may have been laid out
        return do_stand

    def _tend_volume(self) -> None:
        for kind in RecordKind:
            self._mirror.copy_events(kind)
        self._later.catch_up()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            self._rebuilder.restore_left_out()
            drop_needless_snapshots(self._store, self._volume)

    def _free_own_slot(self) -> None:
        """Once, at the start, reap what this slot owned before, without waiting for leases to expire."""
        if self._has_slot:
            return
        for kind in RecordKind:
            self._reap(kind, owner=self._worker)
        self._has_slot = True

    def _reap(self, kind: RecordKind, owner: str | None = None) -> None:
        buried = self._store.run(reaping.reap(kind, max_deaths=self._settings.max_deaths, owner=owner))
        for burial in buried:
            logger.warning("%s: its owner died; it is %s", burial.id, burial.state)
            self._later.owe(partial(write_burial, self._volume, burial))

    def _touch_heartbeat(self) -> None:
        """Touch the heartbeat file. If that fails, health checks take the worker for dead."""
        if self._settings.heartbeat_file:
            try:
                self._settings.heartbeat_file.touch()
            except OSError as error:
                logger.error("the heartbeat file cannot be touched: %s", error)
