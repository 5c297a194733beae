"""What an owner writes about its record to the volume, so that losing Redis loses nothing."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from contract.durable import replace_durably
from contract.evaluation import Evaluation
from contract.job import CheckpointFact, Failure, Progress, Record, SnapshotFact, State
from contract.kept import Kept
from contract.reaping import Burial
from contract.volume import Volume
from worker.later import Later
from worker.room import Room

logger = logging.getLogger(__name__)


class Facts(Kept):
    """A record's state as its owner knows it, written before it is reported to Redis."""

    format_version: Literal[1] = 1
    state: State
    token: int
    attempt: int
    created_us: int
    started_ms: int | None = None
    finished_ms: int | None = None
    progress: Progress | None = Field(None, description="As of the newest snapshot, or the end.")
    snapshot: SnapshotFact | None = None
    checkpoints: tuple[CheckpointFact, ...] = ()
    judged_images_seen: int = Field(0, description="Up to where Redis has heard what came of judging it.")
    evaluation: Evaluation | None = Field(None, description="The latest.")
    environment: dict[str, Any] | None = None
    result: dict[str, Any] | None = Field(None, description="What came of it, for who reads this file.")
    error: Failure | None = None
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
            progress=record.progress,
            snapshot=record.snapshot,
            checkpoints=earlier.checkpoints if earlier else (),
            judged_images_seen=earlier.judged_images_seen if earlier else 0,
            evaluation=earlier.evaluation if earlier else None,
            environment=record.environment,
        )


def read_facts(volume: Volume, record_id: str) -> Facts | None:
    """The newest owner's last facts, or None before the first claim."""
    while stated := volume.all_facts(record_id):
        try:
            return Facts.model_validate_json(stated[-1].read_bytes())
        except FileNotFoundError:  # a newer owner has just written its own
            continue
    return None


def write_facts(volume: Volume, record_id: str, facts: Facts) -> bool:
    """Write facts durably. False if an owner with a newer token has written its own, which supersede these.

    There is no lock, so an owner that is suspended while writing, for however long, blocks no other.
    """
    mine = volume.facts(record_id, facts.token)
    if _is_fenced(volume, record_id, mine):
        return False
    try:
        replace_durably(mine, facts.model_dump_json().encode())
    except FileNotFoundError:  # the record was deleted, or a newer owner cleaned up meanwhile
        if _is_fenced(volume, record_id, mine):
            return False
        raise
    for earlier in volume.home(record_id).glob("*facts-*"):  # and the half-written files of killed owners
        if earlier.name.lstrip(".") < mine.name:
            earlier.unlink(missing_ok=True)
    return not _is_fenced(volume, record_id, mine)


def _is_fenced(volume: Volume, record_id: str, mine: Path) -> bool:
    return any(stated.name > mine.name for stated in volume.all_facts(record_id))


class Ledger:
    """One owner's facts: as last written, and the ways to update them."""

    def __init__(self, volume: Volume, record: Record, room: Room, later: Later) -> None:
        self._volume = volume
        self._record = record
        self._room = room
        self._later = later
        self._known: Facts | None = None

    @property
    def facts(self) -> Facts:
        """As last written; until then, what is known at the claim, for which the first call may wait."""
        if self._known is None:
            self._known = self._room.read(self._at_the_claim, self._volume.home(self._record.id))
        return self._known

    def _at_the_claim(self) -> Facts:
        return Facts.of_claim(self._record, read_facts(self._volume, self._record.id))

    def write(self, update: Mapping[str, Any]) -> bool:
        """Write an update, waiting for room. False if an owner with a newer token has written facts.

        If an exception ends the wait, nothing was written and `facts` are unchanged.
        """
        facts = self.facts.model_copy(update=update)
        is_newest = self._room.insist(
            lambda _: write_facts(self._volume, self._record.id, facts),
            self._volume.facts(self._record.id, facts.token),
            len(facts.model_dump_json()),
        )
        self._known = facts
        return is_newest

    def write_later(self, update: Mapping[str, Any]) -> None:
        """Write an update without which a rebuild would reach the same state. Never waits.

        If the volume refuses, it is written once it does not.
        """

        def write() -> None:
            facts = self._known or self._at_the_claim()
            write_facts(self._volume, self._record.id, facts.model_copy(update=update))

        self._later.write(write)


def write_burial(volume: Volume, burial: Burial) -> None:
    """If a record failed through its owner's death, write that in facts that supersede the owner's."""
    if burial.state is not State.FAILED:
        return
    try:
        facts = read_facts(volume, burial.id)
    except ValidationError as error:  # damaged or of a newer version, which may be why it failed
        logger.error("%s: it failed, which its facts do not say: %s", burial.id, error)
        return
    update = {
        "state": burial.state,
        "error": burial.error,
        "token": burial.token,
        "attempt": burial.attempt,
        "created_us": burial.created_us,
        "finished_ms": round(time.time() * 1000),
    }
    write_facts(volume, burial.id, facts.model_copy(update=update) if facts else Facts.model_validate(update))
