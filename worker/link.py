"""What a supervisor and its child say to each other, as JSON lines over a socket pair.

The pair is also the child's lifeline: when the supervisor's end closes, the child is alone and exits.
"""

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from contract.estimate import Estimate
from contract.evaluation import Evaluation
from contract.job import CheckpointFact, Failure, Progress, Shortage, SnapshotFact
from contract.plugin import Frozen

STOP = b"stop"
"""Supervisor to child: save what you have, then exit."""

EXIT_ORPHANED = 77
EXIT_OUT_OF_MEMORY = 78


class Place(Frozen):
    """Which of the processes of one record's work this is."""

    rank: int = 0
    """The first leads: it alone writes and speaks."""
    ranks: int = 1
    meeting_point: Path | None = None
    """A file by which several find each other; not there yet."""


class Computing(Frozen):
    """The numeric environment in which the work is done; `changed` when a resume found another one."""

    kind: Literal["computing"] = "computing"
    environment: dict[str, Any]
    changed: str | None = None


class Advanced(Frozen):
    kind: Literal["advanced"] = "advanced"
    progress: Progress


class Saved(Frozen):
    """A snapshot is whole on the volume."""

    kind: Literal["saved"] = "saved"
    snapshot: SnapshotFact


class Published(Frozen):
    """A checkpoint is whole on the volume."""

    kind: Literal["published"] = "published"
    checkpoint: CheckpointFact


class Previewed(Frozen):
    kind: Literal["previewed"] = "previewed"
    images_seen: int


class Warned(Frozen):
    kind: Literal["warned"] = "warned"
    code: str
    detail: str


class Judged(Frozen):
    """The run was looked after; without an evaluation where there was nothing to judge by, or no numbers."""

    kind: Literal["judged"] = "judged"
    images_seen: int
    evaluation: Evaluation | None
    warning: Warned | None


class Estimated(Frozen):
    """What a job would take. Told as soon as it is known, and again when it is known better."""

    kind: Literal["estimated"] = "estimated"
    estimate: Estimate


class Waiting(Frozen):
    """The volume does not take a file: told at every try, as a sign of life. Without a shortage: it did."""

    kind: Literal["waiting"] = "waiting"
    shortage: Shortage | None


class Crashed(Frozen):
    """The last words of a child that is dying of an exception nobody expected."""

    kind: Literal["crashed"] = "crashed"
    detail: str


class Stopped(Frozen):
    """Everything is saved, as asked; the child exits."""

    kind: Literal["stopped"] = "stopped"


class Finished(Frozen):
    kind: Literal["finished"] = "finished"
    result: dict[str, Any] = Field(default_factory=dict)


class Failed(Frozen):
    """The work cannot be done, now or later; not a death."""

    kind: Literal["failed"] = "failed"
    problem: Failure


Message = Annotated[
    Computing
    | Advanced
    | Saved
    | Published
    | Previewed
    | Judged
    | Warned
    | Estimated
    | Waiting
    | Crashed
    | Stopped
    | Finished
    | Failed,
    Field(discriminator="kind"),
]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def send(connection: Connection, message: Message) -> None:
    """Child to supervisor. Blocks while the supervisor is behind by a socket buffer."""
    connection.send_bytes(message.model_dump_json().encode())


def receive(connection: Connection) -> Message:
    """Raises EOFError when the child is gone."""
    return _MESSAGE.validate_json(connection.recv_bytes())
