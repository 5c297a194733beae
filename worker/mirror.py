"""Copies the event streams to the volume, so that Redis need not keep, nor can lose, a record's history."""

import fcntl
import logging
import os
from io import BufferedRandom
from pathlib import Path

from contract import store as records
from contract.events import Event
from contract.keys import RecordKind
from contract.volume import Volume
from worker.store import Store

logger = logging.getLogger(__name__)

KEPT_IN_REDIS = 500
"""Newest events of each record that stay in the stream, for watchers that reconnect."""


def mirror_events(kind: RecordKind, store: Store, volume: Volume) -> None:
    """Append what is new to each record's `events.jsonl`, fsynced, before the stream may be trimmed."""
    for record_id in store.unmirrored(kind):
        if not volume.home(record_id).is_dir():
            continue  # its directory went with a DELETE that this set has not heard of yet
        try:
            revision = _append_new(kind, record_id, store, volume.events(record_id))
        except (OSError, ValueError) as error:  # one damaged log must not stop the others
            logger.error("%s: its events cannot be mirrored: %s", record_id, error)
            continue
        if revision:
            store.run(records.mirrored(kind, record_id, revision, KEPT_IN_REDIS))


def _append_new(kind: RecordKind, record_id: str, store: Store, path: Path) -> int:
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # every worker mirrors; one at a time appends
        last = last_event_id(file)
        events = store.events_after(kind, record_id, last)
        file.write(b"".join(event.model_dump_json().encode() + b"\n" for event in events))
        file.flush()
        os.fsync(file.fileno())
    return events[-1].id if events else last


def last_event_id(file: BufferedRandom) -> int:
    """The id on the last whole line; what a crash tore off behind it is cut away. 0 for an empty file."""
    end = file.seek(0, os.SEEK_END)
    position = max(0, end - 1_000_000)
    file.seek(position)
    tail = file.read()
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        file.truncate(position + whole)
    lines = tail[:whole].splitlines()
    return Event.model_validate_json(lines[-1]).id if lines else 0
