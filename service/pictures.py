"""Rendered samples: each is asked for once, however many want it at the same time, and then kept."""

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from contract.sampling import CheckpointPlace, SampleSpec
from service.cache import SampleCache
from service.mailbox import Mailbox
from service.presence import await_for
from service.timing import NOTHING, stages_of


@dataclass(frozen=True)
class Picture:
    """An encoded sample and its strong ETag."""

    etag: str
    content: bytes
    stages: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Where the time for it went, in milliseconds; nothing, if it was kept."""


@dataclass
class _Rendering:
    task: asyncio.Task[Picture]
    waiting: int = 0


def etag_of(spec: SampleSpec, renderer: str) -> str:
    """What the bytes follow from, as an ETag: the same one has the same bytes."""
    digest = hashlib.sha256(f"{spec.canonical()}\n{renderer}".encode()).hexdigest()
    return f'"{digest[:32]}"'


class Pictures:
    """The cache, and behind it the samplers."""

    def __init__(self, mailbox: Mailbox, max_bytes: int) -> None:
        self._mailbox = mailbox
        self._cache = SampleCache(max_bytes)
        self._rendering: dict[SampleSpec, _Rendering] = {}

    def find(self, etag: str) -> Picture | None:
        """The picture, if it is kept."""
        content = self._cache.get(etag)
        return None if content is None else Picture(etag, content)

    def require_room(self, spec: SampleSpec) -> None:
        """Raise `sampler_busy` if `render` would: it is not being rendered, and the line is full."""
        if spec not in self._rendering:
            self._mailbox.line.require_room(spec.weight)

    async def render(self, spec: SampleSpec, place: CheckpointPlace, request: Request) -> Picture:
        """The samplers' picture. Who asks for it while it is being rendered waits for the same one.

        When the last who waited for it has left, the samplers are told to let it be.

        Raises:
            ClientDisconnect: who sent the request has left.
            ServiceError: as `Mailbox.ask` does.
        """
        with self._waiting_for(spec, place) as task:
            await await_for(request, task)
            return task.result()

    @contextmanager
    def _waiting_for(self, spec: SampleSpec, place: CheckpointPlace) -> Iterator[asyncio.Task[Picture]]:
        rendering = self._rendering.get(spec)
        if rendering is None:
            rendering = self._rendering[spec] = _Rendering(asyncio.create_task(self._render(spec, place)))
            rendering.task.add_done_callback(lambda done: self._finish(spec, done))
        rendering.waiting += 1
        try:
            yield rendering.task
        finally:
            rendering.waiting -= 1
            if not rendering.waiting and not rendering.task.done():
                del self._rendering[spec]  # who comes now begins anew
                rendering.task.cancel()

    async def _render(self, spec: SampleSpec, place: CheckpointPlace) -> Picture:
        asked_at = time.monotonic()
        answer = await self._mailbox.ask(spec, place)
        stages = stages_of(time.monotonic() - asked_at, answer.stages) if answer.stages else NOTHING
        picture = Picture(etag_of(spec, answer.renderer), answer.content, stages)
        self._cache.put(picture.etag, picture.content)
        return picture

    def _finish(self, spec: SampleSpec, done: asyncio.Task[Picture]) -> None:
        rendering = self._rendering.get(spec)
        if rendering and rendering.task is done:
            del self._rendering[spec]
        if not done.cancelled():
            done.exception()  # everyone may have left: then nobody else looks at it
