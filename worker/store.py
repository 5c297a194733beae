"""The worker's synchronous access to the records: runs the commands of the contract."""

import time
import uuid
from collections.abc import Callable
from typing import TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract import keys
from contract.alias import Meaning
from contract.command import Command
from contract.events import Event
from contract.job import State
from contract.keys import KEYS, RecordKind
from contract.rebuilding import within
from contract.script import script

T = TypeVar("T")

_REPLY_SECONDS = 2.0
POP_SECONDS = 1.0
"""The longest blocking pop, which ends well before its reply is overdue."""
BREATH_SECONDS = 0.2
"""Pause of a thread after a failure, so that a lasting one does not flood the log."""


def connect(url: str, *, decode: bool = True) -> redis.Redis:
    """A client whose calls return or raise a `RedisError` within seconds, some 8 if Redis hangs."""
    return redis.Redis.from_url(
        url,
        decode_responses=decode,
        socket_timeout=_REPLY_SECONDS,
        socket_connect_timeout=1,
        socket_keepalive=True,
        health_check_interval=5,
        retry=Retry(NoBackoff(), 1),
    )


class Store:
    """Thread-safe, because redis-py gives each call a pooled connection of its own."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = connect(url)
        self._script = self._redis.register_script(script())
        self._clock = clock
        self._first_seen = ("", 0.0)
        """The `run_id` of the current server, and when it was first seen."""

    def run(self, command: Command[T]) -> T:
        """Carry out one transition.

        Raises:
            redis.RedisError: Redis is away; nothing is known about the outcome.
        """
        return command.parse(self._script(args=list(command.arguments)))

    def has_epoch(self) -> bool:
        """Whether records stand here, if perhaps older than the volume; False: Redis came up empty."""
        return bool(self._redis.exists(keys.EPOCH))

    def is_outdated(self, epoch: str) -> bool:
        """Whether the volume's records were rebuilt elsewhere, in this epoch: then those here are older."""
        return bool(epoch) and not self._redis.sismember(keys.EPOCHS, epoch)

    def lock_rebuild(self, name: str, seconds: int) -> "Rebuild | None":
        """Take the lock for re-creating the records; None if another process has it."""
        rebuild = f"{name}:{uuid.uuid4().hex}"
        is_set = self._redis.set(keys.REBUILDING, rebuild, nx=True, ex=seconds)
        if not is_set and self._redis.get(keys.REBUILDING) != rebuild:  # ours after a lost reply
            return None
        return Rebuild(self, rebuild, seconds)

    def clear_left_out(self, name: str) -> None:
        """A record, alias or import that is gone is no longer left out."""
        self._redis.srem(keys.LEFT_OUT, name)

    def left_out(self) -> list[str]:
        """The records, aliases and imports that could not be re-created."""
        return sorted(cast("set[str]", self._redis.smembers(keys.LEFT_OUT)))

    def uptime_seconds(self) -> float:
        """The server's uptime: after a restart, owners need a grace period of one lease.

        At least as long as we have seen this server, in case its clock was set back.
        """
        server = self._redis.info("server")
        if server["run_id"] != self._first_seen[0]:
            self._first_seen = (server["run_id"], self._clock())
        return max(float(server["uptime_in_seconds"]), self._clock() - self._first_seen[1])

    def is_unheard(self, kind: RecordKind) -> bool:
        """Whether something is queued and no doorbell is on its way to a worker."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcard(KEYS[kind].queued)
        pipe.llen(keys.CELERY_PREFIX + keys.ROLE_OF_KIND[kind])
        queued, rung = pipe.execute()
        return bool(queued and not rung)

    def state(self, kind: RecordKind, record_id: str) -> State | None:
        """The record's state; None if there is no record."""
        state = self._redis.hget(KEYS[kind].record_of + record_id, "state")
        return State(cast("str", state)) if state else None

    def is_followed(self, job_id: str) -> bool:
        """Whether some alias follows the job's best checkpoint."""
        meanings = map(Meaning.model_validate_json, cast("list[str]", self._redis.hvals(keys.ALIASES)))
        return any(meaning.follow and meaning.job == job_id for meaning in meanings)

    def unmirrored(self, kind: RecordKind) -> list[str]:
        """Records with events that may not be on the volume yet."""
        return sorted(cast("set[str]", self._redis.smembers(KEYS[kind].unmirrored)))

    def events_after(self, kind: RecordKind, record_id: str, event_id: int) -> list[Event]:
        """The stream's entries past `event_id`, oldest first."""
        entries = cast(
            "list[tuple[str, dict[str, str]]]",
            self._redis.xrange(KEYS[kind].events_of + record_id, min=f"({event_id}-0"),
        )
        return [Event.from_stream(entry_id, fields) for entry_id, fields in entries]


class Rebuild:
    """The store as the rebuilding process uses it: each command requires its lock, and extends it.

    `clear_left_out` is no command and does neither: what is gone is not left out, whoever rebuilds.
    """

    def __init__(self, store: Store, rebuild: str, seconds: int) -> None:
        self._store = store
        self._rebuild, self._seconds = rebuild, seconds

    def run(self, command: Command[T]) -> T:
        """Carry out one transition.

        Raises:
            OvertakenError: the lock has expired or belongs to another process. Nothing has changed.
            redis.RedisError: Redis is away; nothing is known about the outcome.
        """
        return self._store.run(within(self._rebuild, self._seconds, command))

    def clear_left_out(self, name: str) -> None:
        """A record, alias or import that is gone is no longer left out."""
        self._store.clear_left_out(name)
