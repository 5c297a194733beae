"""The messages between a supervisor and its child: JSON over a socket pair.

The pair is also the child's lifeline: when the supervisor's end closes, the child exits.
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
    """A process's position among those that do one record's work."""

    rank: int = 0
    """Rank 0 leads: it alone writes and reports."""
    ranks: int = 1
    meeting_point: Path | None = None
    """A file through which several ranks find each other; it does not exist yet."""


class Computing(Frozen):
    """The numeric environment of the work; `changed` says how it differs from that of what is kept."""

    kind: Literal["computing"] = "computing"
    environment: dict[str, Any]
    changed: str | None = None


class Advanced(Frozen):
    kind: Literal["advanced"] = "advanced"
    progress: Progress


class Saved(Frozen):
    """A snapshot is complete on the volume."""

    kind: Literal["saved"] = "saved"
    snapshot: SnapshotFact


class Published(Frozen):
    """A checkpoint is complete on the volume."""

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
    """The run was judged; without an evaluation if there is nothing to judge by, or values are not finite."""

    kind: Literal["judged"] = "judged"
    images_seen: int
    evaluation: Evaluation | None
    warning: Warned | None


class Estimated(Frozen):
    """What a job would take. Sent as soon as it is known, and again with each better estimate."""

    kind: Literal["estimated"] = "estimated"
    estimate: Estimate


class Waiting(Frozen):
    """The volume rejects a file: sent with every try, as a sign of life. No shortage: it was accepted."""

    kind: Literal["waiting"] = "waiting"
    shortage: Shortage | None


class Crashed(Frozen):
    """The last message of a child that dies of an unexpected exception."""

    kind: Literal["crashed"] = "crashed"
    detail: str


class Stopped(Frozen):
    """Everything is saved, as requested; the child exits."""

    kind: Literal["stopped"] = "stopped"


class Finished(Frozen):
    kind: Literal["finished"] = "finished"
    result: dict[str, Any] = Field(default_factory=dict)


class Failed(Frozen):
    """The work cannot be done, now or later; this does not count as a death."""

    kind: Literal["failed"] = "failed"
    problem: Failure


class Unfit(Frozen):
    """This worker's machine or settings do not allow the work: another worker may do it."""

    kind: Literal["unfit"] = "unfit"
    detail: str


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
    | Failed
    | Unfit,
    Field(discriminator="kind"),
]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def send(connection: Connection, message: Message) -> None:
    """Send a message from child to supervisor. Blocks while the socket's buffer is full."""
    connection.send_bytes(message.model_dump_json().encode())


def receive(connection: Connection) -> Message:
    """Receive a message.

    Raises:
        EOFError: the child is gone.
    """
    return _MESSAGE.validate_json(connection.recv_bytes())
