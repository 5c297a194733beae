"""Calls of the one Lua script. A command is a value: its arguments, and the meaning of its reply.

A part of the script, such as `lua/owning.lua`, has its commands in a module of the same name, or nearly so.
`service/store.py` runs them asynchronously, `worker/store.py` synchronously, so that the two sides cannot
disagree.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, Self, TypeVar

from contract.keys import KEYS, RecordKind

T = TypeVar("T")


@dataclass(frozen=True)
class Command(Generic[T]):
    """One call of the script: its ARGV, and how to parse its reply."""

    arguments: tuple[str, str, str]
    parse: Callable[[Any], T]

    def extended(self, **arguments: object) -> Self:
        """The same call with these arguments added."""
        names, name, given = self.arguments
        return replace(self, arguments=(names, name, json.dumps({**json.loads(given), **arguments})))


def command_of(kind: RecordKind, name: str, parse: Callable[[Any], T], /, **arguments: object) -> Command[T]:
    """Build the call of a command by its name. Arguments that are None are left out."""
    given = {key: value for key, value in arguments.items() if value is not None}  # cjson's null is truthy
    return Command((_names(kind), name, json.dumps(given)), parse)


@cache
def _names(kind: RecordKind) -> str:
    return json.dumps(KEYS[kind].names())
