"""The requests to each server, and the checks of their responses."""

import itertools
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.load.client import Address, Connection, Reply
from benchmarks.load.deployment import Laid
from benchmarks.load.loops import Question
from benchmarks.load.players import Player, is_png

CACHE_BYTES = 512 * 2**10
HELD = 64
"""The number of seeds in the cached rows, few enough to fit into the cache."""
MANY = 256
_ENTRY = struct.Struct("<4s14xI4xHH")
"""The head of an archive's entry: a signature, and the lengths of content, name and extra field."""
_ENTRY_START, _DIRECTORY_START = b"PK\x03\x04", b"PK\x01\x02"

Questions = Callable[[], Iterator[Question]]


@dataclass
class Seen:
    """Our service's responses to each seed when requested alone."""

    address: Address
    digest: str
    pictures: list[bytes]
    etags: list[str]
    _next: Iterator[int]

    @classmethod
    async def learn(cls, address: Address, generator: Laid, count: int, cache_bytes: int) -> "Seen":
        """Request the first `count` seeds one after the other.

        Raises:
            SystemExit: a gateway's cache of `cache_bytes` could answer requests for all of them in turn.
        """
        seen = cls(address, generator.digest, [], [], itertools.cycle(range(count)))
        connection = await Connection.open(address)
        for seed in range(count):
            reply = await connection.ask(seen._get(seed))
            assert reply.status == 200, reply
            assert is_png(reply, generator.resolution), reply
            seen.pictures.append(reply.body)
            seen.etags.append(reply.header("etag") or "")
        connection.close()
        total = sum(map(len, seen.pictures))
        if total < 2 * cache_bytes:
            raise SystemExit(
                f"{count} pictures have {total} bytes: the cache would hold them; more are needed"
            )
        print(f"a picture has {total / count:.0f} bytes")
        return seen

    def unique(self) -> Iterator[Question]:
        """Continues where the previous iterator stopped, so that no seed repeats before all others."""
        return (self._question(seed) for seed in self._next)

    def held(self) -> Iterator[Question]:
        """A set of seeds that fits into the cache."""
        return (self._question(seed) for seed in range(HELD))

    def cached(self) -> Iterator[Question]:
        return itertools.cycle(self.held())

    def known(self) -> Iterator[Question]:
        """Conditional requests from a client that already has the pictures."""
        return itertools.cycle(
            [
                Question(
                    self._get(seed, f"If-None-Match: {self.etags[seed]}"), lambda reply: reply.status == 304
                )
                for seed in range(HELD)
            ]
        )

    def lists(self) -> Iterator[Question]:
        """Archives of `MANY` seeds; none repeats before all others, and the cache cannot hold all."""
        starts = range(0, len(self.pictures) - MANY + 1, MANY)
        assert starts, f"an archive has {MANY} seeds, and only {len(self.pictures)} are known"
        return itertools.cycle([self._archive(range(first, first + MANY)) for first in starts])

    def _get(self, seed: int, *headers: str) -> bytes:
        return self.address.get(f"/samples?seed={seed}&model={self.digest}", *headers)

    def _question(self, seed: int) -> Question:
        def is_right(reply: Reply) -> bool:
            return reply.body == self.pictures[seed]

        return Question(self._get(seed), is_right)

    def _archive(self, seeds: range) -> Question:
        expected = self.pictures[seeds.start : seeds.stop]
        body = {"model": self.digest, "seeds": list(seeds), "format": "zip"}
        request = self.address.post("/samples", json.dumps(body).encode())
        return Question(request, lambda reply: holds(reply.body, expected))


def holds(archive: bytes, expected: Sequence[bytes]) -> bool:
    """Whether an archive of uncompressed files has exactly these contents, in this order."""
    start = 0
    for content in expected:
        if len(archive) < start + _ENTRY.size:
            return False
        signature, length, name, extra = _ENTRY.unpack_from(archive, start)
        start += _ENTRY.size + name + extra
        if (signature, length) != (_ENTRY_START, len(content)) or not archive.startswith(content, start):
            return False
        start += length
    return archive.startswith(_DIRECTORY_START, start)


def rival_questions(rival: Player, generator: Laid) -> Questions:
    def of(seed: int) -> bytes:
        if rival.name == "LitServe":
            return rival.address.post("/samples", json.dumps({"seed": seed}).encode())
        return rival.address.get(f"/samples?seed={seed}")

    def is_right(reply: Reply) -> bool:
        return is_png(reply, generator.resolution)

    return lambda: (Question(of(seed), is_right) for seed in itertools.count())


def constant_question(plain: Player, generator: Laid) -> Questions:
    """Requests for constant bytes, checked like ours so that the client's cost is the same."""
    first: list[bytes] = []

    def is_right(reply: Reply) -> bool:
        if not first and is_png(reply, generator.resolution):
            first.append(reply.body)
        return reply.body in first

    return lambda: itertools.repeat(Question(plain.address.get("/constant"), is_right))
