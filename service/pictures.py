"""Rendered samples: concurrent requests for the same one share a rendering, whose result is cached.

A rendering has the deadline of the request that began it. If it expires, one of those that joined it
later begins another, with a deadline of its own.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from starlette.requests import Request

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SampleSpec
from service.cache import SampleCache
from service.mailbox import Mailbox
from service.presence import await_for
from service.timing import NOTHING, stages_after, stages_of

_MOST_ANSWERED = 4096
_Asked = tuple[SampleSpec, CheckpointPlace]
"""What samplers are asked for: a picture, and where its generator is."""


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
    begun_at: float
    """By the monotonic clock, like its deadline."""
    until: float
    waiting: int = 0

    @property
    def has_expired(self) -> bool:
        error = self.task.exception()
        return isinstance(error, ServiceError) and error.code is ErrorCode.SAMPLER_TIMEOUT


def etag_of(spec: SampleSpec, renderer: str) -> str:
    """The ETag of a picture: a hash of what determines its bytes."""
    digest = hashlib.sha256(f"{spec.canonical()}\n{renderer}".encode()).hexdigest()
    return f'"{digest[:32]}"'


class Pictures:
    """The samplers, behind a cache."""

    def __init__(self, mailbox: Mailbox, max_bytes: int) -> None:
        self._mailbox = mailbox
        self._cache = SampleCache(max_bytes)
        self._rendering: dict[_Asked, _Rendering] = {}
        self._answered: OrderedDict[int, str] = OrderedDict()

    def find(self, etag: str) -> Picture | None:
        """The picture, if it is cached."""
        content = self._cache.get(etag)
        return None if content is None else Picture(etag, content)

    def note(self, request_hash: int, etag: str) -> None:
        """Note what a request was answered with."""
        self._answered[request_hash] = etag
        self._answered.move_to_end(request_hash)
        if len(self._answered) > _MOST_ANSWERED:
            self._answered.popitem(last=False)

    def probably_has(self, request_hash: int) -> bool:
        """Whether what a request was last answered with is cached. By now, it may mean another picture."""
        return self._cache.get(self._answered.get(request_hash, "")) is not None

    def require_room(self, spec: SampleSpec, place: CheckpointPlace) -> None:
        """Raise `sampler_busy` if `render` would: the picture is not being rendered, and the line is full."""
        if (spec, place) not in self._rendering:
            self._mailbox.load.require_room(spec)

    async def render(
        self, spec: SampleSpec, place: CheckpointPlace, request: Request, until: float
    ) -> Picture:
        """Have a sampler render a picture; concurrent calls for the same one share a rendering.

        They do so only if its generator is in the same place, as it may be gone from another. `until` is the
        request's deadline, by the monotonic clock. When the last waiting client has disconnected, the request
        to the samplers is withdrawn.

        Raises:
            ClientDisconnect: the client has disconnected.
            ServiceError: as in `Mailbox.ask`.
        """
        while True:
            asked_at = time.monotonic()
            with self._waiting_for((spec, place), until, asked_at) as rendering:
                await await_for(request, rendering.task)
            if rendering.until >= until or not rendering.has_expired:
                picture = rendering.task.result()
                if missed_ms := 1000 * (asked_at - rendering.begun_at):
                    return replace(picture, stages=stages_after(picture.stages, missed_ms))
                return picture

    @contextmanager
    def _waiting_for(self, asked: _Asked, until: float, now: float) -> Iterator[_Rendering]:
        rendering = self._rendering.get(asked)
        if rendering is None:
            task = asyncio.create_task(self._render(*asked, until, now))
            task.add_done_callback(lambda done: self._finish(asked, done))
            rendering = self._rendering[asked] = _Rendering(task, now, until)
        rendering.waiting += 1
        try:
            yield rendering
        finally:
            rendering.waiting -= 1
            if not rendering.waiting and not rendering.task.done():
                del self._rendering[asked]  # the next call starts a new rendering
                rendering.task.cancel()

    async def _render(
        self, spec: SampleSpec, place: CheckpointPlace, until: float, asked_at: float
    ) -> Picture:
        answer = await self._mailbox.ask(spec, place, until)
        stages = stages_of(time.monotonic() - asked_at, answer.stages) if answer.stages else NOTHING
        picture = Picture(etag_of(spec, answer.renderer), answer.content, stages)
        self._cache.put(picture.etag, picture.content)
        return picture

    def _finish(self, asked: _Asked, done: asyncio.Task[Picture]) -> None:
        rendering = self._rendering.get(asked)
        if rendering and rendering.task is done:
            del self._rendering[asked]
        if not done.cancelled():
            done.exception()  # retrieve it, as every caller may have left
