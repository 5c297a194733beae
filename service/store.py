"""The gateway's access to the records in Redis: runs the contract's commands, and reads."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeVar, cast

from redis.asyncio import Redis

from contract.alias import AliasRecord, Meaning
from contract.command import Command
from contract.events import Event
from contract.imports import Import
from contract.job import CheckpointFact, Record, State
from contract.keys import (
    ALIASES,
    DIGESTS,
    EPOCH,
    EPOCHS,
    IMPORTS,
    JOB_KEYS,
    KEYS,
    LEFT_OUT,
    RENDERER,
    RecordKind,
    Role,
)
from contract.pointing import meanings
from contract.reading import Existence, existence, look_up
from contract.script import script
from contract.submitting import RememberedRequest, read_request
from contract.turns import Turns, turns
from contract.volume_watch import VolumeWatch
from contract.webhook import Endpoint
from contract.workers import workers
from service.redis_client import awaited
from service.refusals import of_another_version

T = TypeVar("T")
_Parts = tuple[Record, tuple[CheckpointFact, ...]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """A record as it stood at `now_ms`, by the clock of Redis."""

    record: Record
    now_ms: int
    queue_position: int | None  # from 1
    checkpoints: tuple[CheckpointFact, ...]  # the newest first
    largest_trainer: int | None = None  # its devices; read only if a record needs several

    @property
    def is_too_large(self) -> bool:
        """Whether it is queued, but no living trainer owns enough devices."""
        if self.largest_trainer is None or self.record.state is not State.QUEUED:
            return False
        return self.record.devices > self.largest_trainer

    @property
    def is_stalled(self) -> bool:
        """Whether its lease has expired: its owner is dead or cut off."""
        lease = self.record.lease_until_ms
        return self.record.state is State.RUNNING and lease is not None and lease < self.now_ms


class Cursor(NamedTuple):
    """Where a page ends: at a record of this moment and id, or before all records of the moment."""

    created_us: int
    id: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes."""
        created_us, _, record_id = text.partition("-")
        return cls(int(created_us), record_id)

    def __str__(self) -> str:
        return f"{self.created_us}-{self.id}" if self.id else str(self.created_us)

    def before(self, following: "Cursor") -> "Cursor":
        """Where the page ends: at the moment alone, which older gateways understand, unless both share it."""
        return self if following.created_us == self.created_us else Cursor(self.created_us)


class Listed(NamedTuple):
    """A page of records, without those that cannot be read."""

    standings: list[Standing]
    next: Cursor | None  # where the next page begins, if there is one


class Store:
    """Reads records asynchronously, and is the one way to run a command of the contract."""

    def __init__(self, redis: "Redis", watch: VolumeWatch) -> None:
        self._redis = redis
        self._watch = watch
        self._script = redis.register_script(script())
        self._turns = {kind: Turns("", ()) for kind in RecordKind}

    async def close(self) -> None:
        await self._redis.aclose()

    async def run(self, command: Command[T]) -> T:
        """Run a command, and return its parsed reply."""
        return command.parse(await self._script(args=command.arguments))

    async def ping(self) -> None:
        """Raise RedisError unless Redis answers."""
        await awaited(self._redis.ping())

    async def epoch(self) -> str | None:
        """The epoch of the records, if they are complete, and those of the volume.

        They are not after Redis was emptied, or came back from before a rebuild on another server, until a
        worker restores them.
        """
        of_volume = self._watch.epoch
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.sismember(EPOCHS, of_volume)
        pipeline.get(EPOCH)
        is_known, epoch = await pipeline.execute()
        return cast("str | None", epoch) if is_known or not of_volume else None

    async def existence(self, name: str) -> Existence:
        """Whether a record, alias or import exists, or why that is unknown."""
        return await self.run(existence(name, self._watch.epoch))

    async def left_out(self) -> list[str]:
        """The records, aliases and imports that were not restored when Redis was emptied."""
        return sorted(await awaited(self._redis.smembers(LEFT_OUT)))

    async def exists(self, kind: RecordKind, record_id: str) -> bool:
        return bool(await self._redis.exists(KEYS[kind].record_of + record_id))

    async def find(self, kind: RecordKind, record_id: str) -> Standing | None:
        """One record, or None.

        Raises:
            ServiceError: `store_unavailable` if it exists, but this version cannot read it.
        """
        try:
            found = await self._read(kind, [record_id], _parts)
        except ValueError as error:
            raise of_another_version(kind, record_id) from error
        return found[0] if found else None

    async def page(
        self, kind: RecordKind, *, state: State | None, after: Cursor | None, limit: int
    ) -> Listed:
        """Return the records that follow a cursor, the newest first.

        Records of the same moment are ordered by id. There are some after a rebuild: that of a job which was
        never claimed is the time of its file, and copied files may have times in whole seconds.
        """
        keys = KEYS[kind]
        index = keys.all if state is None else keys.state_of + state
        places = await self._places_after(after, index, limit + 1)
        page, following = places[:limit], places[limit:]
        standings = await self._read(kind, [place.id for place in page], _parts_if_readable)
        return Listed(standings, page[-1].before(following[0]) if following else None)

    async def _places_after(self, after: Cursor | None, index: str, most: int) -> list[Cursor]:
        """The cursors that end at the next records of an index."""
        pipeline = self._redis.pipeline(transaction=False)
        if after:
            pipeline.zrevrangebyscore(index, after.created_us, after.created_us, withscores=True)
        older_than = f"({after.created_us}" if after else "+inf"
        pipeline.zrevrangebyscore(index, older_than, "-inf", start=0, num=most, withscores=True)
        found = [entry for entries in await pipeline.execute() for entry in entries]
        places = [Cursor(int(created_us), record_id) for record_id, created_us in found]
        return [place for place in places if after is None or place < after][:most]

    async def _read(
        self,
        kind: RecordKind,
        ids: Sequence[str],
        parts_of: Callable[[Mapping[str, str], Sequence[str]], _Parts | None],
    ) -> list[Standing]:
        sight = await self.run(look_up(kind, ids))
        read = [parts_of(fields, entries) for fields, entries in sight.rows if fields]
        found = [one for one in read if one]
        is_any_queued = any(record.state is State.QUEUED for record, _ in found)
        places = await self._places(kind, sight.turns) if is_any_queued else {}
        largest = await self.largest_trainer() if any(record.devices > 1 for record, _ in found) else None
        return [
            Standing(record, sight.now_ms, places.get(record.id), made, largest) for record, made in found
        ]

    async def largest_trainer(self) -> int:
        """The most devices that a living trainer owns; 0 if there is none."""
        facts = await self.run(workers())
        return max((one.get("devices", 1) for one in facts if one["role"] == Role.TRAIN), default=0)

    async def _places(self, kind: RecordKind, version: str | None) -> dict[str, int]:
        """The queue positions of all queued records, from 1; recomputed only when the queue has changed."""
        if self._turns[kind].version != version:
            self._turns[kind] = await self.run(turns(kind))
        return {record_id: place for place, record_id in enumerate(self._turns[kind].ids, start=1)}

    async def request(self, kind: RecordKind, idempotency_key: str) -> RememberedRequest | None:
        """The request that used this key, and the record that it created."""
        made = await self._redis.get(KEYS[kind].request_of + idempotency_key)
        return read_request(cast("str", made)) if made else None

    async def events(self, kind: RecordKind, record_id: str, *, after: int, limit: int) -> list[Event]:
        """The events after a revision that the stream still holds."""
        key = KEYS[kind].events_of + record_id
        entries = await self._redis.xrange(key, min=f"({after}-0", max="+", count=limit)
        return [Event.from_stream(entry_id, fields) for entry_id, fields in cast("list[Any]", entries)]

    async def position(self, kind: RecordKind, record_id: str) -> tuple[State, int] | None:
        """State and revision of a record: where its event stream stands."""
        key = KEYS[kind].record_of + record_id
        state, revision = await awaited(self._redis.hmget(key, ["state", "revision"]))
        return (State(state), int(revision)) if state else None

    async def newest_servable(self) -> str | None:
        """The job that finished last: what `latest` means."""
        ids = await self._redis.zrevrange(KEYS[RecordKind.JOB].servable, 0, 0)
        return cast("list[str]", ids)[0] if ids else None

    async def is_being_told(self, job_id: str) -> bool:
        """Whether some endpoint has yet to be notified of the job's end."""
        deliveries = [f"{job_id}:{endpoint}" for endpoint in Endpoint]
        due = await awaited(self._redis.zmscore(JOB_KEYS.deliveries, deliveries))
        return any(moment is not None for moment in due)

    async def job_of_digest(self, digest: str) -> str | None:
        """The job that made a generator."""
        return cast("str | None", await awaited(self._redis.hget(DIGESTS, digest)))

    async def checkpoints(self, job_id: str) -> list[CheckpointFact]:
        """A job's generators, the newest first."""
        key = KEYS[RecordKind.JOB].checkpoints_of + job_id
        return _checkpoints(await awaited(self._redis.lrange(key, 0, -1)))

    async def renderer(self) -> str | None:
        """The one renderer that is active in this deployment; None before the first sampler."""
        return cast("str | None", await self._redis.get(RENDERER))

    async def best_checkpoint(self, job_id: str) -> CheckpointFact | None:
        """A job's best generator so far."""
        key = KEYS[RecordKind.JOB].record_of + job_id
        text = cast("str | None", await awaited(self._redis.hget(key, "checkpoint")))
        return CheckpointFact.model_validate_json(text) if text else None

    async def imported(self, digest: str) -> Import | None:
        """An imported generator."""
        text = cast("str | None", await awaited(self._redis.hget(IMPORTS, digest)))
        return Import.model_validate_json(text) if text else None

    async def imports(self) -> dict[str, Import]:
        """All imported generators, by digest."""
        texts = cast("dict[str, str]", await awaited(self._redis.hgetall(IMPORTS)))
        return {digest: Import.model_validate_json(text) for digest, text in texts.items()}

    async def alias(self, alias: str) -> Meaning | None:
        """What an alias means now."""
        text = cast("str | None", await awaited(self._redis.hget(ALIASES, alias)))
        return Meaning.model_validate_json(text) if text else None

    async def aliases(self) -> dict[str, Meaning]:
        """What each alias means now."""
        texts = cast("dict[str, str]", await awaited(self._redis.hgetall(ALIASES)))
        return {alias: Meaning.model_validate_json(text) for alias, text in texts.items()}

    async def alias_record(self, alias: str) -> AliasRecord | None:
        """What an alias means, and what it meant before."""
        return await self.run(meanings(alias))


def _checkpoints(entries: Sequence[str]) -> list[CheckpointFact]:
    return [CheckpointFact.model_validate(json.loads(entry)) for entry in reversed(entries)]


def _parts(fields: Mapping[str, str], entries: Sequence[str]) -> _Parts:
    return Record.from_hash(fields), tuple(_checkpoints(entries))


def _parts_if_readable(fields: Mapping[str, str], entries: Sequence[str]) -> _Parts | None:
    try:
        return _parts(fields, entries)
    except ValueError as error:
        logger.warning("%s is in no list: this version cannot read its record: %s", fields.get("id"), error)
        return None
