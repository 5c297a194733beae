"""Runs the commands of the contract in a real Redis, and reads the records back."""

import threading
from typing import Any, TypeVar

import redis
from pydantic import Field

from contract import owning, reaping
from contract.command import Command
from contract.job import Record
from contract.keys import KEYS, RecordKind
from contract.owning import Lease
from contract.script import script
from contract.submitting import submit

T = TypeVar("T")
JOB = RecordKind.JOB
LONG, SHORT = 60.0, 0.02
STEP_MS = 3_600_000


class WholeRecord(Record):
    """A record with fields that only the scripts read."""

    reports: int = 0
    unconfirmed: bool = Field(default=False, description="Whether its owner may not know that it claimed it.")


class Records:
    """Runs commands, and reads records back."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url, decode_responses=True, socket_timeout=60)
        self._script = self.redis.register_script(script())

    def run(self, command: Command[T]) -> T:
        return command.parse(self._script(args=list(command.arguments)))

    def run_at_once(self, *commands: Command[Any]) -> list[Any]:
        """Run commands of which nobody sees one without the others."""
        pipe = self.redis.pipeline()
        for command in commands:
            self._script(args=list(command.arguments), client=pipe)
        return [command.parse(reply) for command, reply in zip(commands, pipe.execute(), strict=True)]

    def read(self, record_id: str = "job_a") -> WholeRecord:
        return WholeRecord.from_hash(self.redis.hgetall(KEYS[JOB].record_of + record_id))

    def submit(self, record_id: str = "job_a", *, devices: int = 1) -> None:
        assert self.run(submit(JOB, record_id, "{}", devices=devices))[0] == "submitted"

    def claim(self, owner: str = "w0", seconds: float = LONG, devices: int = 1) -> Lease:
        claim = self.run(owning.claim(JOB, owner, lease_seconds=seconds, devices=devices))
        assert claim is not None
        return Lease(JOB, claim.record.id, claim.token, seconds)

    def set_clock_back(self, *timers: str) -> None:
        """Move these moments an hour ahead instead, because Redis TIME cannot be set."""
        for key in timers:
            for member in self.redis.zrange(key, 0, -1):
                self.redis.zincrby(key, STEP_MS, member)

    def reap_expired(self) -> list[str]:
        """Reap repeatedly until an owner's lease expires, by Redis' own clock."""
        while True:
            buried = self.run(reaping.reap(JOB, max_deaths=3))
            if buried:
                return [burial.id for burial in buried]
            threading.Event().wait(SHORT / 4)
