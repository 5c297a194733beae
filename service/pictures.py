"""Rendered samples: concurrent requests for the same one share a rendering, whose result is cached.

A rendering has the deadline of its first request. Once half of its time has passed, the next request for the
picture begins another, so that every request has at least half of the time.
"""

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

JOINABLE_SHARE = 0.5
"""The share of a rendering's time, from its beginning, in which further requests join it."""


@dataclass(frozen=True)
class Picture:
    """An encoded sample and its strong ETag."""

    etag: str
    content: bytes
    stages: Mapping[str, float] = field(default_factory=dict, compare=False)
    """How long each stage took, in milliseconds; empty if it was cached."""


@dataclass
class _Rendering:
    task: asyncio.Task[Picture]
    joinable_until: float
    """In seconds of the monotonic clock."""
    waiting: int = 0


def etag_of(spec: SampleSpec, renderer: str) -> str:
    """The ETag of a picture: a hash of what determines its bytes."""
    digest = hashlib.sha256(f"{spec.canonical()}\n{renderer}".encode()).hexdigest()
    return f'"{digest[:32]}"'


class Pictures:
    """The samplers, behind a cache."""

    def __init__(self, mailbox: Mailbox, max_bytes: int) -> None:
        self._mailbox = mailbox
        self._cache = SampleCache(max_bytes)
        self._rendering: dict[SampleSpec, _Rendering] = {}

    def find(self, etag: str) -> Picture | None:
        """The picture, if it is cached."""
        content = self._cache.get(etag)
        return None if content is None else Picture(etag, content)

    def require_room(self, spec: SampleSpec) -> None:
        """Raise `sampler_busy` if `render` would: the picture is not being rendered, and the line is full."""
        if self._joinable(spec) is None:
            self._mailbox.line.require_room(spec.weight)

    async def render(self, spec: SampleSpec, place: CheckpointPlace, request: Request) -> Picture:
        """Have a sampler render a picture; concurrent calls for the same one share a rendering.

        When the last waiting client has disconnected, the request to the samplers is withdrawn.

        Raises:
            ClientDisconnect: the client has disconnected.
            ServiceError: as in `Mailbox.ask`.
        """
        with self._waiting_for(spec, place) as task:
            await await_for(request, task)
            return task.result()

    @contextmanager
    def _waiting_for(self, spec: SampleSpec, place: CheckpointPlace) -> Iterator[asyncio.Task[Picture]]:
        rendering = self._joinable(spec) or self._begin(spec, place)
        rendering.waiting += 1
        try:
            yield rendering.task
        finally:
            rendering.waiting -= 1
            if not rendering.waiting and not rendering.task.done():
                self._forget(spec, rendering.task)  # the next call begins another
                rendering.task.cancel()

    def _joinable(self, spec: SampleSpec) -> _Rendering | None:
        rendering = self._rendering.get(spec)
        return rendering if rendering and time.monotonic() < rendering.joinable_until else None

    def _begin(self, spec: SampleSpec, place: CheckpointPlace) -> _Rendering:
        task = asyncio.create_task(self._render(spec, place))
        task.add_done_callback(lambda done: self._finish(spec, done))
        joinable_until = time.monotonic() + self._mailbox.timeout_seconds * JOINABLE_SHARE
        rendering = self._rendering[spec] = _Rendering(task, joinable_until)
        return rendering

    async def _render(self, spec: SampleSpec, place: CheckpointPlace) -> Picture:
        asked_at = time.monotonic()
        answer = await self._mailbox.ask(spec, place)
        stages = stages_of(time.monotonic() - asked_at, answer.stages) if answer.stages else NOTHING
        picture = Picture(etag_of(spec, answer.renderer), answer.content, stages)
        self._cache.put(picture.etag, picture.content)
        return picture

    def _finish(self, spec: SampleSpec, done: asyncio.Task[Picture]) -> None:
        self._forget(spec, done)
        if not done.cancelled():
            done.exception()  # retrieve it, as every caller may have left

    def _forget(self, spec: SampleSpec, task: asyncio.Task[Picture]) -> None:
        if (rendering := self._rendering.get(spec)) and rendering.task is task:
            del self._rendering[spec]
