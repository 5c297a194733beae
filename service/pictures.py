"""Rendered samples: each is asked for once, however many want it at the same time, and then kept."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from contract.sampling import CheckpointPlace, SampleSpec
from service.cache import SampleCache
from service.mailbox import Mailbox
from service.timing import NOTHING, stages_of


@dataclass(frozen=True)
class Picture:
    """An encoded sample and its strong ETag."""

    etag: str
    content: bytes
    stages: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Where the time for it went, in milliseconds; nothing, if it was kept."""


def etag_of(spec: SampleSpec, renderer: str) -> str:
    """What the bytes follow from, as an ETag: the same one has the same bytes."""
    digest = hashlib.sha256(f"{spec.canonical()}\n{renderer}".encode()).hexdigest()
    return f'"{digest[:32]}"'


class Pictures:
    """The cache, and behind it the samplers."""

    def __init__(self, mailbox: Mailbox, max_bytes: int) -> None:
        self._mailbox = mailbox
        self._cache = SampleCache(max_bytes)
        self._rendering: dict[str, asyncio.Task[Picture]] = {}

    def find(self, etag: str) -> Picture | None:
        """The picture, if it is kept."""
        content = self._cache.get(etag)
        return None if content is None else Picture(etag, content)

    async def render(self, spec: SampleSpec, place: CheckpointPlace) -> Picture:
        """The samplers' picture. Who asks for it while it is being rendered waits for the same one.

        Raises what `Mailbox.ask` raises.
        """
        key = spec.canonical()
        if key not in self._rendering:
            task = self._rendering[key] = asyncio.create_task(self._render(spec, place))
            task.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(self._rendering[key])  # one who leaves takes it from nobody

    async def _render(self, spec: SampleSpec, place: CheckpointPlace) -> Picture:
        asked_at = time.monotonic()
        answer = await self._mailbox.ask(spec, place)
        stages = stages_of(time.monotonic() - asked_at, answer.stages) if answer.stages else NOTHING
        picture = Picture(etag_of(spec, answer.renderer), answer.content, stages)
        self._cache.put(picture.etag, picture.content)
        return picture

    def _finish(self, key: str, done: asyncio.Task[Picture]) -> None:
        del self._rendering[key]
        if not done.cancelled():
            done.exception()  # everyone may have left: then nobody else looks at it
