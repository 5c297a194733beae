"""The commands that forget a record (`lua/forgetting.lua`)."""

from typing import Literal, NamedTuple

from contract.command import Command, command_of
from contract.keys import KEYS, RecordKind

ForgetOutcome = Literal["forgotten", "missing", "live", "used", "aliased", "rebuilding"]


class Forgotten(NamedTuple):
    """Whether a record or an import is forgotten, or what it is kept for."""

    outcome: ForgetOutcome
    by: str
    """A record's state (`forgotten`, `live`), the job that uses it (`used`), the alias that points to it
    (`aliased`), or nothing."""


def forget_job(job_id: str) -> Command[Forgotten]:
    """Remove a job's record unless it is live or an alias points to it."""
    return command_of(
        RecordKind.JOB,
        "forget",
        Forgotten._make,
        id=job_id,
        only_terminal=True,
        uses_users_of=KEYS[RecordKind.DATASET].users_of,
    )


def forget_dataset(dataset_id: str) -> Command[Forgotten]:
    """Remove a dataset's record unless it is being prepared or a live job uses it."""
    return command_of(
        RecordKind.DATASET,
        "forget",
        Forgotten._make,
        id=dataset_id,
        users_record_of=KEYS[RecordKind.JOB].record_of,
    )


def since(epoch: str, forgetting: Command[Forgotten]) -> Command[Forgotten]:
    """Forget only in this epoch. If Redis was emptied since, what was asked before is void: `rebuilding`."""
    return forgetting.extended(since=epoch)
