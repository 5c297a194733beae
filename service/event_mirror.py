"""Reads the copy of a job's events on the volume: one a line, in ascending order of their ids."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice, takewhile
from typing import BinaryIO

from contract.events import Event


def read(file: BinaryIO, after: int, before: int, limit: int) -> list[Event]:
    """Return the events between two ids, the oldest first, at most `limit`.

    Lines that are damaged, or truncated by a crash, are skipped: readers see the gap in the ids.
    """
    events = (event for event, _ in _events_from(file, _offset_after(file, after)) if event.id > after)
    return list(islice(takewhile(lambda event: event.id < before, events), limit))


def _offset_after(file: BinaryIO, event_id: int) -> int:
    """The end of the line of the last event up to this id, or 0, by bisection.

    All events that begin before `low` are up to this id, and all that begin at `high` or later are past it.
    """
    low, high = 0, file.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        event, end = next(_events_from(file, middle), (None, high))
        if event is not None and event.id <= event_id:
            low = end
        else:
            high = middle
    return low


def _events_from(file: BinaryIO, offset: int) -> Iterator[tuple[Event, int]]:
    """Yield the events whose lines begin at or past an offset, each with the end of its line."""
    file.seek(max(0, offset - 1))
    if offset:
        file.readline()  # the rest of a line that begins before the offset
    for line in iter(file.readline, b""):
        if event := _parse(line):
            yield event, file.tell()


def _parse(line: bytes) -> Event | None:
    if line.endswith(b"\n"):
        with suppress(ValueError):
            return Event.model_validate_json(line)
    return None
