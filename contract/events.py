"""What happens to a record, as an append-only log of typed events. An event's id is the record's revision."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from contract.command import Command, command_of
from contract.kept import Kept
from contract.keys import RecordKind


class EventType(StrEnum):
    """The kinds of event that this version reports; a newer one may report others."""

    STATE = "state"
    PROGRESS = "progress"
    CHECKPOINT = "checkpoint"
    PREVIEW = "preview"
    METRIC = "metric"
    WARNING = "warning"


class Event(Kept):
    """One entry of a record's log. `data` is JSON whose content depends on the type."""

    id: int
    type: str
    at_ms: int
    data: str

    @classmethod
    def from_stream(cls, entry_id: str, fields: Mapping[str, str]) -> Self:
        """Read an entry of the Redis stream."""
        return cls.model_validate({"id": int(entry_id.partition("-")[0]), **fields})


def mirrored(kind: RecordKind, record_id: str, revision: int, keep: int) -> Command[int]:
    """Events up to `revision` are fsynced on the volume; trim all but the newest `keep`."""
    return command_of(kind, "mirrored", int, id=record_id, revision=str(revision), keep=keep)
