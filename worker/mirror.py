"""Copies event streams to the volume, so that Redis need not keep a record's history and cannot lose it."""

import contextlib
import fcntl
import io
import json
import logging
import os
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from contract.events import Event, mirrored
from contract.keys import RecordKind
from contract.volume import Volume
from worker.store import Store

logger = logging.getLogger(__name__)

KEPT_IN_REDIS = 500
"""Newest events of a record that stay in the stream, for watchers that reconnect; fewer once it has ended."""


class Mirror:
    """Appends new events to each record's `events.jsonl`, fsynced, before the stream may be trimmed.

    What the volume rejects stays in the stream and is retried in the next round.
    """

    def __init__(self, store: Store, volume: Volume) -> None:
        self._store = store
        self._volume = volume
        self._behind: dict[str, str] = {}
        """Why each record is behind; logged once, not in every round."""

    def copy_events(self, kind: RecordKind) -> None:
        """Run one round."""
        for record_id in self._store.unmirrored(kind):
            try:
                if not self._volume.home(record_id).is_dir():
                    continue  # deleted, but not yet removed from this set
                revision = self._append_new(kind, record_id)
            except (OSError, ValueError) as error:  # one damaged log or directory must not stop the others
                self._fall_behind(record_id, str(error))
                continue
            if self._behind.pop(record_id, None):
                logger.info("%s: its events are mirrored again", record_id)
            if revision:
                self._store.run(mirrored(kind, record_id, revision, KEPT_IN_REDIS))

    def _fall_behind(self, record_id: str, why: str) -> None:
        if self._behind.get(record_id) != why:
            logger.error("%s: its events cannot be mirrored and wait in Redis: %s", record_id, why)
        self._behind[record_id] = why

    def _append_new(self, kind: RecordKind, record_id: str) -> int:
        """The revision up to which the log is complete; 0 if another worker has it locked.

        It does not wait for that worker, which may be suspended: a waiting worker could not reap its job.
        """
        path = self._volume.events(record_id)
        with path.open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            last = last_event(file)
            file.truncate(last.end)
            events = self._store.events_after(kind, record_id, last.id)
            _append(file, last.end, events)
        return events[-1].id if events else last.id


def _append(file: io.FileIO, end: int, events: Sequence[Event]) -> None:
    """Append all durably or none: what a failed fsync left in the page cache would pass for written."""
    left = memoryview(b"".join(event.model_dump_json().encode() + b"\n" for event in events))
    try:
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


class LastEvent(NamedTuple):
    """The id on a log's last readable line, and where that line ends; zeros for an empty file."""

    id: int
    end: int


def last_event(file: BinaryIO) -> LastEvent:
    """Find the last readable event. What follows is torn or damaged; what Redis still has is copied again.

    Raises:
        ValueError: there are lines, but none of the last ones can be read.
    """
    size = file.seek(0, os.SEEK_END)
    position = max(0, size - 1_000_000)
    file.seek(position)
    tail = file.read()
    whole = end = tail.rfind(b"\n") + 1
    while end:
        start = tail.rfind(b"\n", 0, end - 1) + 1
        event_id = _id_on(tail[start:end])
        if event_id is not None:
            return LastEvent(event_id, position + end)
        end = start
    if whole or (tail and not tail.startswith(b"{")):
        raise ValueError("the last lines of its event log are no events")
    return LastEvent(0, position)


def _id_on(line: bytes) -> int | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return int(json.loads(line)["id"])  # its type may be one of a newer version
    return None
