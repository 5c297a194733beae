"""The queue, and in which order it is served (`lua/turns.lua`)."""

from typing import NamedTuple

from contract.command import Command, command_of
from contract.keys import RecordKind


class Turns(NamedTuple):
    """The queue in the order in which it will be served, if nothing is added."""

    version: str
    ids: tuple[str, ...]


def turns(kind: RecordKind) -> Command[Turns]:
    """Get the order of the queue."""
    return command_of(kind, "turns", lambda reply: Turns(reply[0], tuple(reply[1:])))
