"""The commands by which workers announce themselves (`lua/workers.lua`)."""

import json
from collections.abc import Mapping
from typing import Any

from contract.command import Command, command_of
from contract.keys import RecordKind


def hello(name: str, facts: Mapping[str, Any], ttl_seconds: float) -> Command[str | None]:
    """Announce a worker. The reply is the deployment's renderer; None before the first sampler."""
    ttl_ms = round(ttl_seconds * 1000)
    return command_of(
        RecordKind.JOB, "hello", lambda reply: reply, name=name, facts=json.dumps(facts), ttl_ms=ttl_ms
    )


def goodbye(name: str) -> Command[int]:
    """Sign off a worker that exits on purpose."""
    return command_of(RecordKind.JOB, "goodbye", int, name=name)


def workers() -> Command[list[dict[str, Any]]]:
    """What every living worker reports about itself."""
    return command_of(
        RecordKind.JOB, "workers", lambda reply: [json.loads(facts) for facts in reply if facts]
    )
