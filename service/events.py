"""Reads a job's events without gaps: the newest from the stream, older ones from its mirror on the volume."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from pydantic import Field
from redis.exceptions import RedisError

from contract.errors import ServiceError
from contract.events import Event, EventType
from contract.job import Progress
from contract.keys import KEYS, RecordKind
from contract.plugin import Frozen
from service import event_mirror
from service.gateway import Gateway
from service.job_views import JobProgress
from service.refusals import unreadable_events
from service.views import from_ms

_BATCH = 500
_RETRY_MS = 1000
_HEARTBEAT = b": heartbeat\n\n"

logger = logging.getLogger(__name__)


class JobEvent(Frozen):
    """One entry of a job's event log."""

    id: int = Field(description="The job's revision after this; send it back as Last-Event-ID.")
    type: str = Field(description=f"One of {', '.join(EventType)}, or one that only newer workers report.")
    at: datetime
    data: dict[str, Any] = Field(description="What the type says.")

    @classmethod
    def of(cls, event: Event) -> Self:
        data = json.loads(event.data)
        if event.type == EventType.PROGRESS:
            data = JobProgress.of(Progress.model_validate(data)).model_dump()
        return cls(id=event.id, type=event.type, at=from_ms(event.at_ms), data=data)

    def frame(self) -> bytes:
        """Encode this as a server-sent event."""
        data = json.dumps(self.data, separators=(",", ":"))
        return f"id: {self.id}\nevent: {self.type}\ndata: {data}\n\n".encode()


class EventLog:
    """Reads one job's events in order."""

    def __init__(self, gateway: Gateway, job_id: str) -> None:
        self._store, self._shared, self._on_volume = gateway.store, gateway.shared, gateway.on_volume
        self._mirror = gateway.volume.events(job_id)
        self._job_id = job_id
        self._is_unreadable = False

    async def has_ended(self, after: int) -> bool:
        """Whether no event can follow: the job is over or gone, and everything has been read."""
        position = await self._shared.ask(
            ("position", self._job_id), lambda: self._store.position(RecordKind.JOB, self._job_id)
        )
        if position is None:
            return await self._shared.ask(("gone", self._job_id), self._is_gone)
        return position[0].is_terminal and position[1] <= after

    async def _is_gone(self) -> bool:
        """False while a rebuild may restore it."""
        return await self._store.existence(self._job_id) == "missing"

    async def after(self, revision: int, limit: int = _BATCH) -> list[Event]:
        """Return the events after a revision, the oldest first.

        The stream drops only what the mirror already holds, so reading the mirror second misses nothing.

        Raises:
            ServiceError: `volume_failing` if the mirror cannot be read.
        """
        stream = await self._shared.ask(
            ("events", self._job_id, revision, limit),
            lambda: self._store.events(RecordKind.JOB, self._job_id, after=revision, limit=limit),
        )
        if not stream or stream[0].id == revision + 1:
            return stream
        mirrored = await self._mirrored(revision, stream[0].id, limit)
        return (mirrored + stream)[:limit]

    async def _mirrored(self, after: int, before: int, limit: int) -> list[Event]:
        try:
            events = await self._on_volume(self._read_mirror, after, before, limit)
        except OSError as error:
            if not self._is_unreadable:
                logger.warning("%s: its events cannot be read from the volume: %s", self._job_id, error)
            self._is_unreadable = True
            raise unreadable_events(self._job_id, error) from error
        self._is_unreadable = False
        return events

    def _read_mirror(self, after: int, before: int, limit: int) -> list[Event]:
        try:
            with self._mirror.open("rb") as file:
                return event_mirror.read(file, after, before, limit)
        except FileNotFoundError:
            return []


async def stream(gateway: Gateway, job_id: str, after: int) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events after a revision, live, until the job's last one.

    Replay and live events share one loop over the log, which the hub only wakes, so no event is missed or
    repeated between the two. A heartbeat follows whatever was sent last if nothing else does in time.
    """
    history = EventLog(gateway, job_id)
    yield f"retry: {_RETRY_MS}\n\n".encode()
    with gateway.hub.watch(KEYS[RecordKind.JOB].record_of + job_id) as changed:
        while True:
            look = asyncio.create_task(_news(gateway, history, after, changed))
            try:
                while not (await asyncio.wait([look], timeout=gateway.settings.heartbeat_seconds))[0]:
                    yield _HEARTBEAT
            finally:
                look.cancel()
            if not look.result():
                return
            for event in look.result():
                yield JobEvent.of(event).frame()
                after = event.id


async def _news(gateway: Gateway, history: EventLog, after: int, changed: asyncio.Event) -> list[Event]:
    """Wait for events after a revision; empty once none can follow, or when the gateway closes.

    While Redis is away or the volume cannot be read, it goes on looking.
    """
    while not gateway.hub.is_closing:
        changed.clear()
        with suppress(RedisError, ServiceError):
            if events := await history.after(after):
                return events
            if await history.has_ended(after):
                return []
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), gateway.settings.heartbeat_seconds)
    return []
