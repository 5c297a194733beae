"""What holds a rebuild together: each of its commands needs its lock, which an emptied Redis has lost."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from contract.keys import KEYS, RecordKind
from contract.store import Command

T = TypeVar("T")


class OvertakenError(Exception):
    """Redis was emptied again, or another has begun: what was re-created until now may be gone."""


def within(rebuild: str, seconds: float, command: Command[T]) -> Command[T]:
    """The command, carried out only while the lock holds this rebuild, and for so long from now on.

    Its reply raises OvertakenError where that is not so.
    """
    names, name, arguments = command.arguments
    given = {**json.loads(arguments), "rebuild": rebuild, "rebuild_ms": round(seconds * 1000)}
    return Command((names, name, json.dumps(given)), _unless_overtaken(command.parse))


def end_rebuild() -> Command[int]:
    """Declare that the records stand."""
    return Command((json.dumps(KEYS[RecordKind.JOB].names()), "end_rebuild", "{}"), int)


def _unless_overtaken(parse: Callable[[Any], T]) -> Callable[[Any], T]:
    def read(reply: object) -> T:
        if reply == "overtaken":
            raise OvertakenError
        return parse(reply)

    return read
