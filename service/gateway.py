"""What requests share, created once per process."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any
from weakref import WeakValueDictionary

from fastapi import Depends, Request

from contract.keys import Role
from contract.store import workers
from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from contract.warming import LivingSampler, living_samplers
from service import receiving, trash
from service.bell import Bell
from service.estimating import Estimates
from service.hub import Hub
from service.import_room import ImportRoom
from service.mailbox import Mailbox
from service.manifests import Manifests
from service.on_volume import OnVolume
from service.pictures import Pictures
from service.remembered import Remembered
from service.settings import Settings
from service.settling import until_settled
from service.single_flight import SingleFlight
from service.store import Store, connect
from service.stored_files import Digests
from service.webhooks import Webhooks
from service.workshop import Workshop

_ROSTER_SECONDS = 1.0
_BEGIN_ANEW_SECONDS = 0.5
_TIDY_SECONDS = 3.0
"""A start waits so long for a volume that is slow, hangs or is away."""
_WARMINGS_AT_ONCE = 8
"""Generators warmed at the same time; about as many as a sampler loads while a client waits for it."""

log = logging.getLogger(__name__)


class Gateway:
    """The components that requests share; none opens a socket or touches the disk before `running`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.volume = Volume(settings.data_root.absolute())
        self.watch = VolumeWatch(self.volume)
        self.on_volume = OnVolume(self.volume, self.watch)
        self.store = Store(connect(settings.redis_url, connections=64, decode=True), self.watch)
        self.hub = Hub(connect(settings.redis_url, connections=1, decode=True, retries=0))
        self.shared = SingleFlight()
        self.mailbox = Mailbox(
            settings.sampling_redis_url,
            timeout_seconds=settings.sample_timeout_seconds,
            queue_limit=settings.sample_queue_limit,
        )
        self.warming_redis = connect(settings.sampling_redis_url, connections=4, decode=False)
        self.warmings = asyncio.Semaphore(_WARMINGS_AT_ONCE)
        self.remembered = Remembered(self.shared, lambda: self.mailbox.load.is_full, self.later)
        self.estimates = Estimates(
            connect(settings.redis_url, connections=4, decode=True),
            timeout_seconds=settings.estimate_timeout_seconds,
            limit=settings.estimate_limit,
        )
        self.workshop = Workshop(
            connect(settings.redis_url, connections=4, decode=True),
            timeout_seconds=settings.workshop_timeout_seconds,
            limit=settings.workshop_limit,
        )
        self.import_room = ImportRoom(self.store, settings.imports_bytes)
        self.bell = Bell(settings.redis_url)
        self.pictures = Pictures(self.mailbox, settings.sample_cache_bytes)
        self.digests = Digests(self.on_volume)
        self.manifests = Manifests(self.volume, self.on_volume)
        self.webhooks = Webhooks(self.store, self.volume, self.on_volume, settings)
        self.refused_moves: set[str] = set()
        """Aliases of which the volume may still state a move that was refused."""
        self.background: set[asyncio.Task[None]] = set()
        self._settling: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._roster: tuple[float, frozenset[Role]] = (0.0, frozenset())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the readers and the bell within this block; leaving it takes about two seconds at most."""
        await asyncio.to_thread(self.watch.start)
        await asyncio.wait([self.later(self._tidy_up())], timeout=_TIDY_SECONDS)
        self.bell.start()
        readers = [
            asyncio.create_task(self._keep(part.run)) for part in (self.hub, self.mailbox, self.webhooks)
        ]
        try:
            yield
        finally:
            self.close_streams()
            self.mailbox.close()
            self.webhooks.close()
            self.bell.stop()
            self.on_volume.begin_to_close()
            for task in self.background:
                task.cancel()
            await asyncio.gather(*readers, *self.background, return_exceptions=True)
            await self.estimates.close()
            await self.workshop.close()
            await self.warming_redis.aclose()
            await self.store.close()
            self.watch.stop()
            await asyncio.to_thread(self.on_volume.close)

    async def _tidy_up(self) -> None:
        """Once the volume is there, remove what killed gateways have left in part."""

        async def attempt() -> bool:
            for tidy in (Volume.lay_out, receiving.sweep, trash.sweep):
                await self.on_volume(tidy, self.volume)
            return True

        await until_settled(attempt, OSError)

    async def _keep(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a reader until it is closed, restarting it when it fails."""
        while True:
            try:
                await run()
                return
            except Exception:
                log.critical("a reader of the gateway broke and begins anew", exc_info=True)
                if self.hub.is_closing:
                    return
                await asyncio.sleep(_BEGIN_ANEW_SECONDS)

    def close_streams(self) -> None:
        """End the event streams, so that the server does not wait for clients that never disconnect."""
        self.hub.close()

    def later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background; it is cancelled when the gateway stops."""
        task = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self._has_ended)
        return task

    def settle_later(
        self, name: str, attempt: Callable[[], Awaitable[bool]], *also_broken_by: type[Exception]
    ) -> None:
        """Call `attempt` in the background until it returns True, unless that is going on under this name.

        Whoever holds the lock that `attempt` takes can be sure that it still looks at what he did.
        """

        async def settle() -> None:
            try:
                await until_settled(attempt, *also_broken_by)
            finally:  # before anybody else can take the lock
                self._settling.discard(name)

        if name not in self._settling:
            self._settling.add(name)
            self.later(settle())

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self.background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work in the background failed", exc_info=error)

    def lock(self, name: str) -> asyncio.Lock:
        """The lock of this name, such as a record's id, for operations that write the volume, then Redis."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def renderer(self) -> str | None:
        """The one renderer of this deployment, from the `Remembered` cache; None before the first sampler."""
        return await self.remembered.ask("renderer", self.store.renderer)

    def remembers_generator(self, digest: str | None) -> bool:
        """Whether pictures of this digest can be served from the cache, or revalidated, without Redis."""
        return self.remembered.knows(("model", digest)) and self.remembered.knows("renderer")

    async def living_roles(self) -> frozenset[Role]:
        """The roles that active workers fill, at most a second old."""
        read_at, roles = self._roster
        if time.monotonic() - read_at > _ROSTER_SECONDS:
            return await self.shared.ask("roster", self._read_roster)
        return roles

    async def living_samplers(self) -> list[LivingSampler]:
        """The samplers that take requests now."""
        return living_samplers(await self.store.run(workers()))

    async def _read_roster(self) -> frozenset[Role]:
        facts = await self.store.run(workers())
        roles = frozenset(Role(one["role"]) for one in facts if one.get("active", True))
        self._roster = (time.monotonic(), roles)
        return roles


async def _gateway(request: Request) -> Gateway:
    gateway = request.app.state.gateway
    assert isinstance(gateway, Gateway)
    return gateway


Here = Annotated[Gateway, Depends(_gateway)]
