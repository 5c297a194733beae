"""The requests to each server, and the checks of their responses."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from benchmarks.load.client import Address, Connection, Reply
from benchmarks.load.deployment import Laid
from benchmarks.load.loops import Question
from benchmarks.load.players import Player, is_png

CACHE_BYTES = 512 * 2**10
HELD = 64
"""The number of seeds in the cached rows, few enough to fit into the cache."""
MANY = 256

Questions = Callable[[], Iterator[Question]]


@dataclass
class Seen:
    """Our service's responses to each seed when requested alone."""

    address: Address
    digest: str
    hashes: list[bytes]
    etags: list[str]
    _next: Iterator[int]

    @classmethod
    async def learn(cls, address: Address, generator: Laid, count: int) -> "Seen":
        seen = cls(address, generator.digest, [], [], itertools.cycle(range(count)))
        connection, total = await Connection.open(address), 0
        for seed in range(count):
            reply = await connection.ask(seen._get(seed))
            assert reply.status == 200, reply
            assert is_png(reply, generator.resolution), reply
            seen.hashes.append(sha256(reply.body).digest())
            seen.etags.append(reply.header("etag") or "")
            total += len(reply.body)
        connection.close()
        if total < 2 * CACHE_BYTES:
            raise SystemExit(
                f"{count} pictures have {total} bytes: the cache would hold them; give more --seeds"
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
        for first in itertools.count(step=MANY):
            body = {"model": self.digest, "seeds": list(range(first, first + MANY)), "format": "zip"}
            request = self.address.post("/samples", json.dumps(body).encode())
            yield Question(request, _holds_many)

    def _get(self, seed: int, *headers: str) -> bytes:
        return self.address.get(f"/samples?seed={seed}&model={self.digest}", *headers)

    def _question(self, seed: int) -> Question:
        def is_right(reply: Reply) -> bool:
            return sha256(reply.body).digest() == self.hashes[seed]

        return Question(self._get(seed), is_right)


def _holds_many(reply: Reply) -> bool:
    """Whether the response is an archive with `MANY` entries and as many complete pictures."""
    return reply.body.count(b"PK\x01\x02") == MANY == reply.body.count(b"IEND\xaeB`\x82")


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
        found = sha256(reply.body).digest()
        if not first and is_png(reply, generator.resolution):
            first.append(found)
        return found in first

    return lambda: itertools.repeat(Question(plain.address.get("/constant"), is_right))
