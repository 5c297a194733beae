"""What an owner states about its record on the volume, so that losing Redis loses nothing."""

import fcntl
import os
import time
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from contract.evaluation import Evaluation
from contract.job import CheckpointFact, Problem, Record, SnapshotFact, State
from contract.plugin import Frozen
from contract.store import Burial
from contract.volume import Volume, write_durably
from worker.room import Later, Room


class Facts(Frozen):
    """`facts.json`: the record's state as its owner knows it, written before Redis is told."""

    format_version: Literal[1] = 1
    state: State
    token: int
    attempt: int
    created_us: int
    started_ms: int | None = None
    finished_ms: int | None = None
    snapshot: SnapshotFact | None = None
    checkpoints: tuple[CheckpointFact, ...] = ()
    judged_images_seen: int = 0
    evaluation: Evaluation | None = Field(None, description="The latest.")
    environment: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: Problem | None = None
    reason: str | None = Field(None, description="Why it is in this state.")

    @classmethod
    def of_claim(cls, record: Record, earlier: "Facts | None") -> "Facts":
        """The facts at a claim: what was known before, under the new token."""
        return cls(
            state=State.RUNNING,
            token=record.token,
            attempt=record.attempt,
            created_us=record.created_us,
            started_ms=record.started_ms,
            snapshot=record.snapshot,
            checkpoints=earlier.checkpoints if earlier else (),
            judged_images_seen=earlier.judged_images_seen if earlier else 0,
            evaluation=earlier.evaluation if earlier else None,
            environment=record.environment,
        )


def read_facts(volume: Volume, record_id: str) -> Facts | None:
    """The last facts stated, or None before the first claim."""
    path = volume.facts(record_id)
    return Facts.model_validate_json(path.read_bytes()) if path.exists() else None


def write_facts(volume: Volume, record_id: str, facts: Facts) -> bool:
    """State facts durably, unless an owner with a newer token has: then False, and nothing is changed."""
    home = os.open(volume.home(record_id), os.O_RDONLY)
    try:
        fcntl.flock(home, fcntl.LOCK_EX)
        stated = read_facts(volume, record_id)
        if stated is not None and stated.token > facts.token:
            return False
        path = volume.facts(record_id)
        for torn in path.parent.glob(f".{path.name}.*.tmp"):
            torn.unlink()  # of a writer that was killed: a living one would hold the lock
        write_durably(path, facts.model_dump_json().encode())
        return True
    finally:
        os.close(home)


class Ledger:
    """One owner's facts: as it stated them last, and the ways to state more."""

    def __init__(self, volume: Volume, record: Record, room: Room, later: Later) -> None:
        self.facts = Facts.of_claim(record, read_facts(volume, record.id))
        self._volume = volume
        self._id = record.id
        self._room = room
        self._later = later

    def state(self, update: Mapping[str, Any]) -> bool:
        """State what is new, waiting for room; False when an owner with a newer token has stated.

        Where the waiting ends by an exception, nothing new was stated, and `facts` are as they were.
        """
        facts = self.facts.model_copy(update=update)
        is_stated = self._room.insist(
            lambda: write_facts(self._volume, self._id, facts),
            self._volume.facts(self._id),
            len(facts.model_dump_json()),
        )
        self.facts = facts
        return is_stated

    def state_later(self, update: Mapping[str, Any]) -> None:
        """State what a rebuild would come to without it as well: now, or when there is room."""
        facts = self.facts.model_copy(update=update)
        self._later.write(lambda: write_facts(self._volume, self._id, facts))


def state_burial(volume: Volume, burial: Burial) -> None:
    """When a record's owner is dead and the record has failed by it, state so in the dead owner's place."""
    facts = read_facts(volume, burial.id)
    if facts is None or burial.state is not State.FAILED:
        return
    update = {
        "state": burial.state,
        "error": burial.error,
        "token": facts.token + 1,  # as the script that buried it did: the dead owner is fenced here too
        "finished_ms": round(time.time() * 1000),
    }
    write_facts(volume, burial.id, facts.model_copy(update=update))
