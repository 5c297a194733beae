"""The commands that re-create records from the volume (`lua/rebuilding.lua`), and the lock of a rebuild."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from contract.command import Command, command_of
from contract.identifiers import kind_of
from contract.job import CheckpointFact
from contract.keys import EVERYTHING, KEYS, RecordKind
from contract.submission import PLAIN, Submission
from contract.submitting import request_of, submission_fields
from contract.volume import Volume
from contract.webhook import Endpoint

T = TypeVar("T")
RestoreOutcome = Literal["restored", "exists", "settled", "twin", "withdrawn"]
Found = Literal["stands", "emptied", "outdated"]

REBUILT = "rebuilt from the volume"
"""The reason of the `state` event with which a restored record begins."""


class OvertakenError(Exception):
    """Redis was emptied again, or another rebuild has begun: what was re-created so far may be gone."""


def restore(
    kind: RecordKind,
    record_id: str,
    fields: Mapping[str, str],
    checkpoints: Sequence[CheckpointFact],
    lease_seconds: float,
    submission: Submission = PLAIN,
    untold: Sequence[Endpoint] = (),
    *,
    unheard: Sequence[CheckpointFact] = (),
    was_queued: bool = True,
    is_left_out: bool = False,
) -> Command[RestoreOutcome]:
    """Re-create a record that Redis has lost. One that exists is left alone.

    Its end is reported to the `untold` endpoints. The `unheard` checkpoints, whose events were lost, each get
    a new event. A `twin` was never queued, and its Idempotency-Key has created another record: no client
    knows the twin, so it is not restored. Neither is a submission that was `withdrawn` meanwhile; nor, with
    `is_left_out`, a record that is not left out any more (`settled`).
    """
    uses = fields.get("uses")
    return command_of(
        kind,
        "restore",
        lambda reply: reply,
        id=record_id,
        reason=REBUILT,
        fields={**fields, **submission_fields(submission)},
        request=request_of(record_id, submission),
        checkpoints=[checkpoint.model_dump_json() for checkpoint in checkpoints],
        unheard=[checkpoint.model_dump_json() for checkpoint in unheard],
        uses_users=KEYS[RecordKind.DATASET].users_of + uses if uses else None,
        lease_ms=round(lease_seconds * 1000),
        untold=list(untold),
        was_queued=was_queued,
        is_left_out=is_left_out,
    )


def leave_out(name: str, submission: Submission = PLAIN, *, is_left_out: bool = False) -> Command[bool]:
    """Remember a record, alias or import that cannot be restored now. True the first time.

    The request that created the record creates no other, until a day after the last call. With `is_left_out`,
    only if it still is. A record that exists is not left out.
    """
    given = {"name": name, "request": request_of(name, submission), "is_left_out": is_left_out}
    return command_of(kind_of(name), "leave_out", bool, **given)


def read_epoch(volume: Volume) -> str:
    """The volume's epoch; empty if it has had none, or if that cannot be told."""
    try:
        return volume.epoch.read_text()
    except (OSError, ValueError):
        return ""


def begin_rebuild(of_volume: str, epoch: str) -> Command[Found]:
    """Begin this epoch, unless the records stand. They are removed first if they are outdated.

    They are if the epoch `of_volume` is unknown: then the volume's records were rebuilt on another server.
    """
    given = {"of_volume": of_volume, "epoch": epoch, "pattern": EVERYTHING}
    return command_of(RecordKind.JOB, "begin_rebuild", lambda reply: reply, **given)


def go_on() -> Command[int]:
    """Do nothing; `within` a rebuild, only extend its lock."""
    return command_of(RecordKind.JOB, "go_on", int)


def end_rebuild(epoch: str) -> Command[int]:
    """Declare that the records of this epoch stand."""
    return command_of(RecordKind.JOB, "end_rebuild", int, epoch=epoch)


def within(rebuild: str, seconds: float, command: Command[T]) -> Command[T]:
    """Run a command only while this rebuild holds the lock, and extend the lock by `seconds` from now.

    Parsing the reply raises OvertakenError if the lock was lost.
    """
    locked = command.extended(rebuild=rebuild, rebuild_ms=round(seconds * 1000))
    return Command(locked.arguments, _unless_overtaken(command.parse))


def _unless_overtaken(parse: Callable[[Any], T]) -> Callable[[Any], T]:
    def read(reply: object) -> T:
        if reply == "overtaken":
            raise OvertakenError
        return parse(reply)

    return read
