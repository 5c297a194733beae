"""What requests share, created once per process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated
from weakref import WeakValueDictionary

from fastapi import Depends, Request

from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from service import receiving, trash
from service.background import Background
from service.bell import Bell
from service.estimating import Estimates
from service.hub import Hub
from service.import_room import ImportRoom
from service.mailbox import Mailbox
from service.manifests import Manifests
from service.on_volume import OnVolume
from service.pictures import Pictures
from service.redis_client import connect
from service.remembered import Remembered
from service.roster import Roster
from service.settings import Settings
from service.settling import until_settled
from service.single_flight import SingleFlight
from service.store import Store
from service.stored_files import Digests
from service.warming import Warming
from service.webhooks import Webhooks
from service.workshop import Workshop

_BEGIN_ANEW_SECONDS = 0.5
_TIDY_SECONDS = 3.0
"""A start waits so long for a volume that is slow, hangs or is away."""

logger = logging.getLogger(__name__)


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
        self.background = Background()
        self.roster = Roster(self.store, self.shared)
        self.mailbox = Mailbox(
            settings.sampling_redis_url,
            timeout_seconds=settings.sample_timeout_seconds,
            queue_limit=settings.sample_queue_limit,
        )
        self.warming = Warming(
            connect(settings.sampling_redis_url, connections=4, decode=False),
            self.roster,
            self.mailbox.load,
            background=self.background,
            shared=self.shared,
        )
        self.remembered = Remembered(self.shared, lambda: self.mailbox.load.is_full, self.background.run)
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
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the readers and the bell within this block; leaving it takes about two seconds at most."""
        await asyncio.to_thread(self.watch.start)
        await asyncio.wait([self.background.run(self._tidy_up())], timeout=_TIDY_SECONDS)
        self.bell.start()
        readers = [
            asyncio.create_task(self._keep_running(part.run))
            for part in (self.hub, self.mailbox, self.webhooks)
        ]
        try:
            yield
        finally:
            self.close_streams()
            self.mailbox.close()
            self.webhooks.close()
            self.bell.stop()
            self.on_volume.begin_to_close()
            await asyncio.gather(*readers, self.background.stop(), return_exceptions=True)
            await self.estimates.close()
            await self.workshop.close()
            await self.warming.close()
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

    async def _keep_running(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a reader until it is closed, restarting it when it fails."""
        while True:
            try:
                await run()
                return
            except Exception:
                logger.critical("a reader of the gateway broke and begins anew", exc_info=True)
                if self.hub.is_closing:
                    return
                await asyncio.sleep(_BEGIN_ANEW_SECONDS)

    def close_streams(self) -> None:
        """End the event streams, so that the server does not wait for clients that never disconnect."""
        self.hub.close()

    def lock(self, name: str) -> asyncio.Lock:
        """The lock of this name, such as a record's id, for operations that write the volume, then Redis."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def renderer(self) -> str | None:
        """The one renderer of this deployment, from the `Remembered` cache; None before the first sampler."""
        return await self.remembered.ask("renderer", self.store.renderer)

    def remembers_generator(self, reference: str | None) -> bool:
        """Whether pictures of this digest can be served from the cache, or revalidated, without Redis.

        False for any other reference.
        """
        return self.remembered.knows(("model", reference)) and self.remembered.knows("renderer")


async def _gateway(request: Request) -> Gateway:
    gateway = request.app.state.gateway
    assert isinstance(gateway, Gateway)
    return gateway


Here = Annotated[Gateway, Depends(_gateway)]
