"""The commands that forget a record (`lua/forgetting.lua`)."""

import json
from typing import Literal

from contract.command import Command, command_of
from contract.keys import KEYS, RecordKind

ForgetOutcome = Literal["forgotten", "missing", "live", "used", "aliased", "rebuilding"]


def forget_job(job_id: str) -> Command[tuple[ForgetOutcome, str]]:
    """Remove a job's record unless it is live or an alias points to it."""
    return command_of(
        RecordKind.JOB,
        "forget",
        tuple,
        id=job_id,
        only_terminal=True,
        uses_users_of=KEYS[RecordKind.DATASET].users_of,
    )


def forget_dataset(dataset_id: str) -> Command[tuple[ForgetOutcome, str]]:
    """Remove a dataset's record unless it is being prepared or a live job uses it."""
    return command_of(
        RecordKind.DATASET, "forget", tuple, id=dataset_id, users_record_of=KEYS[RecordKind.JOB].record_of
    )


def since(epoch: str, forgetting: Command[tuple[ForgetOutcome, str]]) -> Command[tuple[ForgetOutcome, str]]:
    """Forget only in this epoch. If Redis was emptied since, what was asked before is void: `rebuilding`."""
    names, name, arguments = forgetting.arguments
    return Command((names, name, json.dumps({**json.loads(arguments), "since": epoch})), forgetting.parse)
